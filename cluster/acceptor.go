package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/internal/descriptors"
)

// acceptor is the listener of a node, which it hands to its server. It tells when somebody has begun to accept, proves
// on request that the accept loop lives, and keeps the master's questions from the server. The listener below may be
// changed for another one on the same port, of which the server notices nothing.
//
// It has the methods of a net.Listener and hides all others of the one below, so that the deadline is its own.
type acceptor struct {
	listener  atomic.Pointer[net.Listener]
	accepting chan struct{} // closed at the first Accept
	closed    chan struct{} // closed by shut
	forsaken  chan struct{} // closed by Close

	attention atomic.Bool  // the next Accept has to pass: it is the first, or it was poked
	expecting atomic.Int32 // len(expected), read without mu

	mu       sync.Mutex      // guards what follows, and the deadline of listener: it is in the past only while attention is set
	begun    bool            // accepting is closed
	isClosed bool            // closed is closed
	parked   <-chan struct{} // not nil: what Accept waits for before it tells that the listener is closed
	resumed  chan struct{}   // not nil: the listener is closed, and another one will come; closed when it has
	passed   []chan<- struct{}
	expected map[netip.AddrPort]chan struct{}
}

var _ net.Listener = (*acceptor)(nil)

func newAcceptor(l net.Listener) *acceptor {
	a := &acceptor{
		accepting: make(chan struct{}), closed: make(chan struct{}), forsaken: make(chan struct{}),
		expected: make(map[netip.AddrPort]chan struct{}),
	}
	a.listener.Store(&l)
	a.attention.Store(true)
	return a
}

// below returns the listener that there is now.
func (a *acceptor) below() net.Listener { return *a.listener.Load() }

// Accept waits for the next connection that is not a question of the master's.
func (a *acceptor) Accept() (net.Conn, error) {
	for {
		if a.attention.Load() {
			a.pass()
		}
		l := a.below()
		conn, err := l.Accept()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // poked: no connection was taken, and pass clears the deadline
		case errors.Is(err, net.ErrClosed) && a.awaitNext(l):
		case errors.Is(err, net.ErrClosed):
			a.waitParked()
			return nil, err
		case err != nil:
			return nil, descriptors.ExplainAccept(err)
		case a.expecting.Load() == 0 || !a.answer(conn.RemoteAddr()):
			return conn, nil
		default:
			_ = conn.Close() // the master has its answer, whatever becomes of the connection
		}
	}
}

// Close closes the listener for those who accept; what is blocked in Accept or poke returns with net.ErrClosed. Only the
// first call can fail.
func (a *acceptor) Close() error {
	a.forsake()
	return a.shut()
}

func (a *acceptor) forsake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !isClosed(a.forsaken) {
		close(a.forsaken)
	}
}

// shut closes the listener as the node does: what is parked in Accept stays there.
func (a *acceptor) shut() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed {
		return nil
	}
	a.isClosed = true
	close(a.closed)
	if a.resumed != nil {
		return nil // it is closed
	}
	return a.below().Close()
}

// suspend closes the listener below, and lets Accept wait for another one, which resume brings.
func (a *acceptor) suspend() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed || a.resumed != nil {
		return net.ErrClosed
	}
	a.resumed = make(chan struct{})
	return a.below().Close()
}

// resume goes on with another listener. If the acceptor was closed meanwhile, it closes that, too.
func (a *acceptor) resume(l net.Listener) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed {
		return join(net.ErrClosed, l.Close())
	}
	a.listener.Store(&l)
	close(a.resumed)
	a.resumed = nil
	return nil
}

// awaitNext waits for the listener that comes after l, which is closed. It returns false if there is none.
func (a *acceptor) awaitNext(l net.Listener) bool {
	a.mu.Lock()
	resumed, other := a.resumed, a.below() != l
	a.mu.Unlock()
	if resumed == nil {
		return other
	}
	select {
	case <-resumed:
		return true
	case <-a.closed:
		return false
	}
}

// park keeps who accepts from learning that the listener is closed, before until is, or it closes it by itself: a program
// that serves by itself would take it for the end, and end the master with it, which only has handed over to a worker.
func (a *acceptor) park(until <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parked = until
}

func (a *acceptor) waitParked() {
	a.mu.Lock()
	parked := a.parked
	a.mu.Unlock()
	if parked == nil {
		return
	}
	select {
	case <-parked:
	case <-a.forsaken:
	}
}

// Addr returns the address on which all nodes listen.
func (a *acceptor) Addr() net.Addr { return a.below().Addr() }

// pass is on the way of each accept loop: it tells those who wait for one.
func (a *acceptor) pass() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attention.Store(false)
	_ = a.setDeadline(time.Time{}) // of a closed listener; Accept will say so
	if !a.begun {
		a.begun = true
		close(a.accepting)
	}
	for _, passed := range a.passed {
		close(passed)
	}
	a.passed = nil
}

// poke returns nil when the accept loop has passed through Accept since the call: it has entered it anew, or was
// waiting in it and has been woken, which calls accept(2) again. A loop that nobody has begun, or that is elsewhere, makes
// poke wait until ctx is done; the error then says which. After Close it is net.ErrClosed. Many may poke at once.
func (a *acceptor) poke(ctx context.Context) error {
	passed := make(chan struct{})
	if err := a.call(passed); err != nil {
		return fmt.Errorf("poke the accept loop of %v: %w", a.Addr(), err)
	}
	select {
	case <-passed:
		return nil
	case <-a.closed:
		return fmt.Errorf("poke the accept loop of %v: %w", a.Addr(), net.ErrClosed)
	case <-ctx.Done():
	}
	return a.hangUp(passed, ctx.Err())
}

// call asks for the next pass, and wakes who is blocked below Accept.
func (a *acceptor) call(passed chan<- struct{}) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed {
		return net.ErrClosed
	}
	a.passed = append(a.passed, passed)
	a.attention.Store(true)
	return a.setDeadline(aLongTimeAgo)
}

// hangUp ends the wait for a pass, for the reason why, unless it has just come.
func (a *acceptor) hangUp(passed chan<- struct{}, why error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.passed, passed)
	if i < 0 {
		return nil
	}
	a.passed = slices.Delete(a.passed, i, i+1)
	if !a.begun {
		return fmt.Errorf("nobody has begun to accept on %v: %w", a.Addr(), why)
	}
	return fmt.Errorf("the accept loop of %v does not come back to Accept: %w", a.Addr(), why)
}

// aLongTimeAgo makes an Accept in progress return.
var aLongTimeAgo = time.Unix(1, 0)

// setDeadline does nothing for a listener without deadlines: its loop passes when it enters Accept.
func (a *acceptor) setDeadline(t time.Time) error {
	if l, ok := a.below().(interface{ SetDeadline(t time.Time) error }); ok {
		return l.SetDeadline(t)
	}
	return nil
}

// expect says that the next connection from source is a question of the master's: Accept closes it, goes on to the
// next one, and closes the channel returned. To expect it again before it has come is the same question.
func (a *acceptor) expect(source netip.AddrPort) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	source = plain(source)
	arrived, ok := a.expected[source]
	if !ok {
		arrived = make(chan struct{})
		a.expected[source] = arrived
		a.expecting.Add(1)
	}
	return arrived
}

// forget takes back what expect said; the channel stays open, unless the connection has come.
func (a *acceptor) forget(source netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetLocked(plain(source))
}

func (a *acceptor) forgetLocked(source netip.AddrPort) (arrived chan struct{}, ok bool) {
	if arrived, ok = a.expected[source]; ok {
		delete(a.expected, source)
		a.expecting.Add(-1)
	}
	return arrived, ok
}

// answer tells whether a connection from source was expected, and the one who expects it.
func (a *acceptor) answer(source net.Addr) bool {
	addr, ok := source.(*net.TCPAddr)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	arrived, ok := a.forgetLocked(plain(addr.AddrPort()))
	if ok {
		close(arrived)
	}
	return ok
}

// plain returns addr as it is compared: a dual-stack listener has IPv4 addresses mapped to IPv6, and only one end may
// name the zone.
func plain(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
}
