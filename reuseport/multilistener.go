package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// WatchMode is how a [MultiListener] learns that a connection waits in the queue of a sibling.
type WatchMode int

// The modes, the best one first.
const (
	// WatchAuto is WatchExclusive where [ProbeWatch] returns nil, and else WatchPolling.
	WatchAuto WatchMode = iota
	// WatchExclusive: the kernel wakes one process for each connection: the owner of the queue if it has an idle thread,
	// else the next process that has.
	WatchExclusive
	// WatchPolling: a process that has just accepted looks at the queues of its siblings, at most once a millisecond.
	// While no process accepts, no queue is looked at.
	WatchPolling
)

var watchModeNames = []string{"auto", "exclusive", "polling"}

// String returns "auto", "exclusive" or "polling".
func (m WatchMode) String() string {
	if m < WatchAuto || m > WatchPolling {
		return fmt.Sprintf("WatchMode(%d)", int(m))
	}
	return watchModeNames[m]
}

// ProbeWatch returns nil where [WatchExclusive] works, and else why not; that error Is errors.ErrUnsupported. It is tried out
// once in a process, on a listener of our own on the loopback address, which takes a millisecond.
func ProbeWatch() error {
	if err := watchSupported(); err != nil {
		return fmt.Errorf("reuseport: watch queues: %w", err)
	}
	return nil
}

var watchSupported = sync.OnceValue(probeWatch)

// MultiListener is a listener with several accept queues: its own, and those of siblings that it watches. The siblings are
// other listeners of the same port, usually of other processes.
//
//	m, err := reuseport.NewMultiListener(l, reuseport.MultiOptions{}) // l is from Listen
//	...
//	lent, err := m.Lend(0)              // in each process, for the others:
//	err = reuseport.Send(conn, lent, 0) // a Unix socket between the two
//	...
//	sibling, _, err := reuseport.Receive(conn)
//	inode, err := m.Watch(sibling)
//	...
//	err = http.Serve(m, handler)
//
// What always holds:
//
//   - A connection in the queue of a process that is stopped, dead, or too busy to accept is accepted by a sibling that is
//     idle. Its own queue comes first. No connection is passed between processes.
//   - A queue of a sibling is emptied only by a goroutine that is in Accept. Where no goroutine has been in Accept for some
//     milliseconds (the server is at its limit, or pauses), nothing is watched, and siblings take what comes to this queue.
//   - What Accept returns is a *net.TCPConn of net's own.
//   - While a duplicate is watched, the listener keeps its place in the group and its queue when its process dies. A
//     duplicate that nobody accepts from keeps connections waiting for ever: watch it, [Borrowed.Shutdown] it, or close it.
//
// A MultiListener has a goroutine for each queue that it watches. All methods may be called at the same time.
type MultiListener struct {
	front    front
	inode    uint32 // of the own listener
	mode     WatchMode
	accepted atomic.Uint64 // from the own queue
	glances  glances       // in WatchPolling

	registered func() // nil: none

	bell  *file     // nil in WatchPolling, as is what follows
	entry pollEntry // of the own listener
	guard guard     // against pauses

	mu       sync.Mutex
	closed   atomic.Bool // written with mu held
	siblings []*sibling  // guarded by mu, and replaced, never changed; in the order in which they were watched
	past     uint64      // guarded by mu; accepted from siblings that are not watched any more
	watching bool        // guarded by mu; the own listener is registered, and the siblings if it helps
	idle     bool        // guarded by mu; it does not help
}

var _ net.Listener = (*MultiListener)(nil)

// QueueCount counts the connections that a MultiListener has accepted from one queue.
type QueueCount struct {
	Inode    uint32 // of the listener, see [Inode]; 0: of several
	Accepted uint64
}

// MultiOptions are the options of NewMultiListener. The zero value is ready to use.
type MultiOptions struct {
	// Mode is how siblings are watched. WatchExclusive is an error where [ProbeWatch] is one. Default: WatchAuto.
	Mode WatchMode
	// Registered is called when the kernel wakes this process for its own queue after all others that watch it: at the first Accept,
	// and after a pause of the server. The others should [MultiListener.Renew] their watch then. It must not block, nor call the
	// listener. Default: none.
	Registered func()
}

// NewMultiListener returns a listener with the queue of own, which belongs to it from now on, also when an error is returned.
func NewMultiListener(own *net.TCPListener, opts MultiOptions) (*MultiListener, error) {
	m, err := newMultiListener(own, opts)
	if err != nil {
		_ = own.Close() // the first error counts
		return nil, fmt.Errorf("reuseport: listener on %v with several queues: %w", own.Addr(), err)
	}
	return m, nil
}

func newMultiListener(own *net.TCPListener, opts MultiOptions) (*MultiListener, error) {
	inode, _ := Inode(own) // an error: not on this system, and then there are no siblings
	m := &MultiListener{front: front{own: own}, inode: inode, mode: opts.Mode, registered: opts.Registered}
	if m.mode == WatchAuto && watchSupported() == nil {
		m.mode = WatchExclusive
	}
	if m.mode != WatchExclusive {
		m.mode = WatchPolling
		return m, nil
	}
	if err := watchSupported(); err != nil {
		return nil, err
	}
	return m, m.prepare()
}

// Mode returns how the queues of siblings are watched: never WatchAuto.
func (m *MultiListener) Mode() WatchMode { return m.mode }

// Addr returns the address of the own listener.
func (m *MultiListener) Addr() net.Addr { return m.front.own.Addr() }

// SyscallConn returns the own listener, for Attach, Queue and the like.
func (m *MultiListener) SyscallConn() (syscall.RawConn, error) { return m.front.own.SyscallConn() }

// Accept returns the next connection of any queue. Its errors are those of net.TCPListener.Accept.
func (m *MultiListener) Accept() (net.Conn, error) {
	conn, _, err := m.AcceptFrom()
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// AcceptFrom is Accept, and tells the inode of the listener in whose queue the connection was; 0 is the own one.
func (m *MultiListener) AcceptFrom() (conn *net.TCPConn, inode uint32, err error) {
	for {
		if err := m.enter(); err != nil {
			m.leave()
			return nil, 0, fmt.Errorf("reuseport: accept on %v: %w", m.Addr(), err)
		}
		conn, err := m.front.own.AcceptTCP()
		m.leave()
		switch {
		case err == nil:
			m.accepted.Add(1)
			if m.mode == WatchPolling && m.glances.isDue() {
				m.glance()
			}
			return conn, 0, nil
		case m.closed.Load(): // shutdown(2) came first
			return nil, 0, &net.OpError{Op: "accept", Net: m.Addr().Network(), Addr: m.Addr(), Err: net.ErrClosed}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, 0, err
		}
		queue, expired := m.front.take()
		if expired {
			return nil, 0, err
		}
		if queue == nil {
			continue
		}
		if conn := m.front.acceptFrom(queue); conn != nil {
			return conn, queue.inode, nil
		}
	}
}

// SetDeadline makes Accept fail with an error that Is os.ErrDeadlineExceeded from t on; the zero time is none.
func (m *MultiListener) SetDeadline(t time.Time) error { return m.front.setDeadline(t) }

// Lend returns a duplicate for another process, see [Send]: of the own listener, or of that with an inode whose queue m watches. 0 is
// the own one. The error Is os.ErrNotExist for a queue that is not watched, and errors.ErrUnsupported where the system is not Linux.
func (m *MultiListener) Lend(inode uint32) (b *Borrowed, err error) {
	if inode == 0 || inode == m.inode {
		b, err = lend(m.front.own, m.bell)
	} else {
		m.mu.Lock()
		defer m.mu.Unlock()
		q := find(m.siblings, inode)
		if q == nil {
			return nil, m.notWatched(inode)
		}
		b, err = lend(q.listener, q.bell())
	}
	if err != nil {
		return nil, fmt.Errorf("reuseport: lend the listener on %v: %w", m.Addr(), err)
	}
	return b, nil
}

// Watch begins to accept from the queue of a sibling, whose duplicate belongs to m from now on, also when an error is returned.
// The watch ends by Unwatch, by Close, or when the sibling stops listening. The own queue, and one that is watched already, are
// errors.
func (m *MultiListener) Watch(b *Borrowed) (inode uint32, err error) {
	if inode, err = m.watch(b); err != nil {
		_ = b.Close() // the first error counts
		return 0, fmt.Errorf("reuseport: watch a queue beside that of %v: %w", m.Addr(), err)
	}
	return inode, nil
}

func (m *MultiListener) watch(b *Borrowed) (inode uint32, err error) {
	q, err := newSibling(b, m.mode, &m.front)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed.Load():
		err = net.ErrClosed
	case q.inode == m.inode || find(m.siblings, q.inode) != nil:
		err = fmt.Errorf("listener %d: %w", q.inode, os.ErrExist)
	case m.watching && !m.idle:
		err = q.register()
	}
	if err != nil {
		return 0, errors.Join(err, q.listener.Close())
	}
	m.siblings = append(slices.Clip(m.siblings), q)
	go func() { // ends with Unwatch or Close, which waits for it, or when the sibling listens no more
		if q.run(m.starve) {
			_ = m.remove(q) // it is a duplicate
		}
	}()
	return q.inode, nil
}

// Help sets whether m accepts from the queues of siblings, which it does by default. A server that is to get no new connections does
// not help: the siblings still accept from its queue.
func (m *MultiListener) Help(is bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = !is
	err := m.feed()
	for _, q := range m.siblings {
		if m.idle {
			q.unregister()
			q.passOn() // this process may have been woken for it
		} else if m.watching && !q.starving {
			err = errors.Join(err, q.register())
		}
	}
	if err != nil {
		return fmt.Errorf("reuseport: watch queues beside that of %v: %w", m.Addr(), err)
	}
	return nil
}

// glance looks at the queues of the siblings.
func (m *MultiListener) glance() {
	m.mu.Lock()
	siblings := m.siblings
	if m.idle {
		siblings = nil
	}
	m.mu.Unlock()
	listeners := make([]syscall.Conn, len(siblings))
	for i, q := range siblings {
		listeners[i] = q.listener
	}
	for i, waits := range haveWaiting(listeners) {
		if waits {
			siblings[i].kick()
		}
	}
}

// Renew lets the kernel wake this process for the queue of the listener with an inode after all others that watch it. Processes
// that watch each other's queues should differ in their order, or the first gets more than the others. It returns an error that Is
// os.ErrNotExist if that queue is not watched.
func (m *MultiListener) Renew(inode uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := find(m.siblings, inode)
	if q == nil {
		return m.notWatched(inode)
	}
	if !q.registered {
		return nil // it will be
	}
	q.unregister()
	if err := q.register(); err != nil {
		return fmt.Errorf("reuseport: watch the queue of listener %d beside that of %v: %w", inode, m.Addr(), err)
	}
	return nil
}

func (m *MultiListener) notWatched(inode uint32) error {
	return fmt.Errorf("reuseport: the queue of listener %d is not watched by that on %v: %w", inode, m.Addr(), os.ErrNotExist)
}

// Unwatch ends the watch of the queue of the listener with an inode, and closes the duplicate. It returns an error that Is
// os.ErrNotExist if that queue is not watched.
func (m *MultiListener) Unwatch(inode uint32) error {
	m.mu.Lock()
	q := find(m.siblings, inode)
	m.mu.Unlock()
	if q == nil {
		return m.notWatched(inode)
	}
	return m.remove(q)
}

// remove ends the watch of q, and waits for its goroutine.
func (m *MultiListener) remove(q *sibling) (err error) {
	m.mu.Lock()
	if slices.Contains(m.siblings, q) {
		m.siblings = slices.DeleteFunc(slices.Clone(m.siblings), func(o *sibling) bool { return o == q })
		m.past += q.accepted.Load()
		err = q.close()
	}
	m.mu.Unlock()
	<-q.done
	return err
}

// Counts returns how many connections were accepted from each queue: the own one first, then those that are watched, in the order in
// which that began, and last the sum of those that are not watched any more, with inode 0.
func (m *MultiListener) Counts() []QueueCount {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := []QueueCount{{m.inode, m.accepted.Load()}}
	for _, q := range m.siblings {
		counts = append(counts, QueueCount{q.inode, q.accepted.Load()})
	}
	return append(counts, QueueCount{0, m.past})
}

// Close takes the listener out of its group, resets what waits in its queue, also where siblings watch it, and ends all watches.
// [Drain] empties the queue first. Only the first call can fail.
func (m *MultiListener) Close() error {
	m.mu.Lock()
	wasClosed, siblings := m.closed.Swap(true), m.siblings
	m.guard.stop()
	m.mu.Unlock()
	if wasClosed {
		return nil
	}
	for _, q := range siblings {
		_ = m.remove(q) // it is a duplicate
	}
	err := errors.Join(shutdown(m.front.own), m.front.own.Close())
	if m.bell != nil {
		err = errors.Join(err, m.bell.Close())
	}
	if err != nil {
		return fmt.Errorf("reuseport: close the listener on %v: %w", m.Addr(), err)
	}
	return nil
}

// probeWait bounds the waits of probeWatch.
const probeWait = 5 * time.Second

// probeWatch tries out on private listeners that a connection is accepted from a queue that is watched exclusively: from the own
// one, and from that of a sibling that nothing accepts from.
func probeWatch() error {
	own, err := newProbeListener()
	if err != nil {
		return err
	}
	defer own.Close()
	sibling, err := newProbeListener()
	if err != nil {
		return err
	}
	defer sibling.Close()
	b, err := lend(sibling.front.own, sibling.bell)
	if err != nil {
		return err
	}
	if _, err := own.watch(b); err != nil {
		return err
	}
	for _, to := range []net.Addr{own.Addr(), sibling.Addr()} {
		if err := tryAccept(own, to); err != nil {
			return err
		}
	}
	return nil
}

func newProbeListener() (*MultiListener, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	m := &MultiListener{front: front{own: l}, mode: WatchExclusive}
	if err := m.prepare(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return m, nil
}

// tryAccept accepts a connection to an address, which is made while a goroutine is in Accept.
func tryAccept(m *MultiListener, to net.Addr) error {
	if err := m.SetDeadline(time.Now().Add(probeWait)); err != nil {
		return err
	}
	accepted := make(chan error, 1)
	go func() { // ends within probeWait
		conn, err := m.Accept()
		if err == nil {
			err = conn.Close()
		}
		accepted <- err
	}()
	d := net.Dialer{Timeout: probeWait}
	conn, err := d.DialContext(context.Background(), "tcp4", to.String())
	if err == nil {
		err = conn.Close()
	}
	return errors.Join(err, <-accepted)
}
