package reuseport

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

// pauseAfter is how long no goroutine is in Accept until a server counts as pausing.
const pauseAfter = 5 * time.Millisecond

// pauses finds the times in which a server does not accept: it is at its limit, say. The kernel would go on to wake this process for
// connections, and nobody else, so nothing is registered then.
//
// A timer runs only between the return of an Accept and the next look.
type pauses struct {
	own      pollEntry     // of the own listener
	returns  atomic.Uint64 // of Accept
	timed    atomic.Bool   // the timer runs
	timer    *time.Timer
	seen     uint64 // returns at the last look
	watching bool   // guarded by mu; own and siblings are registered
}

// prepare readies the own listener for the first Accept.
func (m *MultiListener) prepare() (err error) {
	raw, err := m.own.SyscallConn()
	if err != nil {
		return err
	}
	if m.pauses.own, err = findPollEntry(raw); err != nil {
		return err
	}
	m.timed.Store(true)
	m.attention.Store(true)
	m.timer = time.AfterFunc(pauseAfter, m.look)
	if err := control(m.own, unregister); err != nil {
		return err
	}
	m.bell, err = newBell()
	return err
}

// enter is called by a goroutine that begins to wait in Accept.
func (m *MultiListener) enter() error {
	m.inAccept.Add(1)
	if !m.attention.Load() {
		return nil
	}
	return m.attend()
}

// attend registers the queues again after a pause, and lets the watcher go on.
func (m *MultiListener) attend() (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attention.Store(false)
	if m.mode == WatchExclusive && !m.watching && !m.closed.Load() {
		err = m.register()
	}
	for _, q := range m.siblings {
		if !q.starving {
			continue
		}
		q.starving = false
		if m.watching {
			err = errors.Join(err, q.register())
		}
		q.kick()
	}
	return err
}

// starve lets the goroutine of a sibling wait for a kick of the next goroutine that enters Accept. It returns true if there is one
// already.
func (m *MultiListener) starve(q *sibling) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	q.starving = true
	m.attention.Store(true)
	if m.inAccept.Load() > 0 {
		q.starving = false
		return true
	}
	q.unregister() // or the connection that waits would wake this process again and again
	q.passOn()
	return false
}

// leave is called by a goroutine whose wait in Accept ends.
func (m *MultiListener) leave() {
	m.inAccept.Add(-1)
	m.returns.Add(1)
	if m.mode == WatchExclusive && !m.timed.Load() && !m.timed.Swap(true) {
		m.timer.Reset(pauseAfter)
	}
}

// look looks whether the server pauses. The timer calls it.
func (m *MultiListener) look() {
	for turns := 0; turns < offerTurns && m.inAccept.Load() == 0; turns++ {
		runtime.Gosched() // on a busy machine it may be about to enter Accept
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timed.Store(false)
	now := m.returns.Load()
	switch {
	case m.closed.Load() || m.inAccept.Load() > 0 || !m.watching:
	case now != m.seen:
		m.timed.Store(true)
		m.timer.Reset(pauseAfter)
	default:
		m.attention.Store(true)
		if m.inAccept.Load() == 0 {
			m.unregister()
			_ = ring(m.bell) // this process may have been woken for a connection that nobody accepts
		}
	}
	m.seen = now
}

// endLooks is called with mu held.
func (p *pauses) endLooks() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// register registers all queues, the own one first: of those that are idle, the kernel wakes the one that has registered first. It
// is called with mu held.
func (m *MultiListener) register() error {
	err := control(m.own, func(fd int) error { return m.pauses.own.register(fd, edgeTriggered) })
	if err == nil {
		err = control(m.bell, func(fd int) error { return m.pauses.own.register(fd, edgeTriggered) })
	}
	for _, q := range m.siblings {
		err = errors.Join(err, q.register())
	}
	if err != nil {
		m.unregister() // the next that enters Accept tries again
		return err
	}
	m.watching = true
	return nil
}

// unregister is called with mu held.
func (m *MultiListener) unregister() {
	m.watching = false
	_ = control(m.own, unregister) // it is registered
	_ = control(m.bell, unregister)
	for _, q := range m.siblings {
		q.unregister()
	}
}
