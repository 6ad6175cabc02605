package reuseport

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

// pauseAfter is how long no goroutine is in Accept until a server counts as pausing.
const pauseAfter = 5 * time.Millisecond

// guard finds the times in which a server does not accept: it is at its limit, say. The kernel would go on to wake this process for
// connections, and no other, so nothing is registered then.
//
// Its timer runs only between the return of an Accept and the next look.
type guard struct {
	returns atomic.Uint64 // of Accept
	timed   atomic.Bool   // the timer runs
	timer   *time.Timer
	seen    uint64 // returns at the last look
}

// start is called once, with the function that looks.
func (g *guard) start(look func()) {
	g.timed.Store(true)
	g.timer = time.AfterFunc(pauseAfter, look)
}

// note notes that a goroutine has returned from Accept.
func (g *guard) note() {
	g.returns.Add(1)
	if g.timer != nil && !g.timed.Load() && !g.timed.Swap(true) {
		g.timer.Reset(pauseAfter)
	}
}

// isPause reports at a look, at which no goroutine is in Accept, whether there was none since the last look. If there was one, another
// look follows.
func (g *guard) isPause() bool {
	now := g.returns.Load()
	if now == g.seen {
		return true
	}
	g.seen = now
	g.timed.Store(true)
	g.timer.Reset(pauseAfter)
	return false
}

func (g *guard) stop() {
	if g.timer != nil {
		g.timer.Stop()
	}
}

// prepare readies the own listener for the first Accept.
func (m *MultiListener) prepare() (err error) {
	raw, err := m.front.own.SyscallConn()
	if err != nil {
		return err
	}
	if m.entry, err = findPollEntry(raw); err != nil {
		return err
	}
	if m.bell, err = newBell(); err != nil {
		return err
	}
	if err := control(m.front.own, unregister); err != nil {
		return errors.Join(err, m.bell.Close())
	}
	m.front.attention.Store(true)
	m.guard.start(m.look)
	return nil
}

// enter is called by a goroutine that begins to wait in Accept. After a pause it registers the queues again, and lets the goroutines
// of siblings go on that have waited for it.
func (m *MultiListener) enter() (err error) {
	m.front.waiting.Add(1)
	if !m.front.attention.Load() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.front.attention.Store(false)
	if m.mode == WatchExclusive && !m.watching && !m.closed.Load() {
		err = m.register()
	}
	return errors.Join(err, m.feed())
}

// feed lets the goroutines of siblings go on that wait for a goroutine in Accept. It is called with mu held.
func (m *MultiListener) feed() (err error) {
	for _, q := range m.siblings {
		if !q.starving || m.idle {
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
	m.front.attention.Store(true)
	if m.front.waiting.Load() > 0 && !m.idle {
		q.starving = false
		return true
	}
	q.unregister() // or the connection that waits would wake this process again and again
	q.passOn()
	return false
}

// leave is called by a goroutine whose wait in Accept ends.
func (m *MultiListener) leave() {
	m.front.waiting.Add(-1)
	m.guard.note()
}

// look looks whether the server pauses.
func (m *MultiListener) look() {
	for turns := 0; turns < offerTurns && m.front.waiting.Load() == 0; turns++ {
		runtime.Gosched() // on a busy machine it may be about to enter Accept
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guard.timed.Store(false)
	if m.closed.Load() || m.front.waiting.Load() > 0 || !m.watching || !m.guard.isPause() {
		return
	}
	m.front.attention.Store(true)
	if m.front.waiting.Load() == 0 {
		m.unregister()
		_ = ring(m.bell) // this process may have been woken for a connection that nothing accepts
	}
}

// register registers all queues, the own one first: of those that are idle, the kernel wakes the one that has registered first. It
// is called with mu held.
func (m *MultiListener) register() error {
	err := control(m.front.own, func(fd int) error { return m.entry.register(fd, edgeTriggered) })
	if err == nil {
		err = control(m.bell, func(fd int) error { return m.entry.register(fd, edgeTriggered) })
	}
	if !m.idle {
		for _, q := range m.siblings {
			err = errors.Join(err, q.register())
		}
	}
	if err != nil {
		m.unregister() // the next that enters Accept tries again
		return err
	}
	m.watching = true
	if m.registered != nil {
		m.registered()
	}
	return nil
}

// unregister is called with mu held.
func (m *MultiListener) unregister() {
	m.watching = false
	_ = control(m.front.own, unregister) // it is registered
	_ = control(m.bell, unregister)
	for _, q := range m.siblings {
		q.unregister()
	}
}
