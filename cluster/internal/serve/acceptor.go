package serve

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
	"github.com/multinode-go/multinode/internal/errline"
)

// Acceptor is a listener around another one, for a server. It shows when the server has begun to accept, proves on request
// that the accept loop is alive, and keeps probe connections from the server. The listener below can be replaced by another
// one on the same port, which the server does not notice.
//
// To the server it is a net.Listener and nothing else: the other methods of the listener below are hidden, so that the
// deadline is the Acceptor's own. All methods may be called at the same time.
type Acceptor struct {
	listener  atomic.Pointer[net.Listener]
	accepting chan struct{} // closed at the first Accept
	closed    chan struct{} // closed by Shut
	abandoned chan struct{} // closed by Close
	abandon   sync.Once

	attention atomic.Bool  // the next Accept has to pass: it is the first, or it was poked
	expecting atomic.Int32 // len(expected), read without mu

	mu       sync.Mutex      // guards the fields below, and the deadline of listener: it is in the past only while attention is set
	begun    bool            // accepting is closed
	isClosed bool            // closed is closed
	parked   <-chan struct{} // not nil: Accept waits for it before it reports that the listener is closed
	resumed  chan struct{}   // not nil: the listener is closed, and another one will follow; closed when it has
	passed   []chan<- struct{}
	expected map[netip.AddrPort]*Arrival // by the source of a probe connection
	origins  origins
}

// Arrival is the arrival of a probe connection.
type Arrival struct {
	done  chan struct{}
	inode uint32
}

// Done is closed when the connection has been accepted.
func (a *Arrival) Done() <-chan struct{} { return a.done }

// Inode returns the inode of the listener in whose queue the connection was, 0 if that is the Acceptor's own. It is for after Done.
func (a *Arrival) Inode() uint32 { return a.inode }

var _ net.Listener = (*Acceptor)(nil)

// NewAcceptor returns an Acceptor around l, which it owns from now on.
func NewAcceptor(l net.Listener) *Acceptor {
	a := &Acceptor{
		accepting: make(chan struct{}), closed: make(chan struct{}), abandoned: make(chan struct{}),
		expected: make(map[netip.AddrPort]*Arrival),
	}
	a.listener.Store(&l)
	a.attention.Store(true)
	return a
}

// below returns the current listener.
func (a *Acceptor) below() net.Listener { return *a.listener.Load() }

// Accept waits for the next connection that is not a probe connection.
func (a *Acceptor) Accept() (net.Conn, error) {
	for {
		if a.attention.Load() {
			a.pass()
		}
		l := a.below()
		conn, inode, err := a.accept(l)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // poked: no connection was accepted, and pass clears the deadline
		case errors.Is(err, net.ErrClosed) && a.awaitNext(l):
		case errors.Is(err, net.ErrClosed):
			a.waitParked()
			return nil, err
		case err != nil:
			return nil, descriptors.ExplainAccept(err)
		case a.expecting.Load() == 0 || !a.answer(conn.RemoteAddr(), inode):
			return conn, nil
		default:
			_ = conn.Close() // its arrival is the answer
		}
	}
}

// accept accepts from l, and notes what was in the queue of another node.
func (a *Acceptor) accept(l net.Listener) (conn net.Conn, inode uint32, err error) {
	q, ok := l.(queues)
	if !ok {
		conn, err = l.Accept()
		return conn, 0, err
	}
	tcp, inode, err := q.AcceptFrom()
	if err != nil {
		return nil, 0, err
	}
	if inode != 0 {
		a.noteOrigin(tcp.RemoteAddr(), inode)
	}
	return tcp, inode, nil
}

// Close closes the listener for the server: an Accept or a Poke that is blocked returns with net.ErrClosed. Only the first
// call can fail.
func (a *Acceptor) Close() error {
	a.abandon.Do(func() { close(a.abandoned) })
	return a.Shut()
}

// Shut closes the listener for its owner: an Accept that is parked stays there, see [Acceptor.Park]. Only the first call can
// fail.
func (a *Acceptor) Shut() error {
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

// Suspend closes the listener below, and makes Accept wait for the next one, see [Acceptor.Resume]. It returns net.ErrClosed if
// the Acceptor is closed or suspended.
func (a *Acceptor) Suspend() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed || a.resumed != nil {
		return net.ErrClosed
	}
	a.resumed = make(chan struct{})
	return a.below().Close()
}

// Resume continues with l in place of the listener that Suspend has closed. If the Acceptor was closed meanwhile, it closes l and
// returns net.ErrClosed.
func (a *Acceptor) Resume(l net.Listener) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed {
		return errline.Join(net.ErrClosed, l.Close())
	}
	a.listener.Store(&l)
	close(a.resumed)
	a.resumed = nil
	return nil
}

// awaitNext waits for the listener that follows l, which is closed. It returns false if there is none.
func (a *Acceptor) awaitNext(l net.Listener) bool {
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

// Park makes an Accept that finds the listener shut block, until the channel is closed or the server calls Close. Otherwise a
// program with an accept loop of its own would take the error for the end of the service, and exit while the process still has
// work to do.
func (a *Acceptor) Park(until <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parked = until
}

func (a *Acceptor) waitParked() {
	a.mu.Lock()
	parked := a.parked
	a.mu.Unlock()
	if parked == nil {
		return
	}
	select {
	case <-parked:
	case <-a.abandoned:
	}
}

// Addr returns the address of the listener.
func (a *Acceptor) Addr() net.Addr { return a.below().Addr() }

// Accepting returns a channel that is closed when Accept is called for the first time.
func (a *Acceptor) Accepting() <-chan struct{} { return a.accepting }

// pass is called by an accept loop that enters Accept: it ends the waits of Poke.
func (a *Acceptor) pass() {
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

// Poke returns nil when the accept loop has passed through Accept since the call: it has entered Accept, or was blocked in it
// and has been woken, which calls accept(2) again. If no loop has begun, or if it is elsewhere, Poke waits until ctx is done,
// and the error says which of the two it was. After Close and Shut the error Is net.ErrClosed.
func (a *Acceptor) Poke(ctx context.Context) error {
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

// call asks for the next pass, and wakes an Accept that is blocked.
func (a *Acceptor) call(passed chan<- struct{}) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed {
		return net.ErrClosed
	}
	a.passed = append(a.passed, passed)
	a.attention.Store(true)
	return a.setDeadline(aLongTimeAgo)
}

// hangUp ends the wait for a pass, for the reason why, unless the loop has just passed.
func (a *Acceptor) hangUp(passed chan<- struct{}, why error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.passed, passed)
	if i < 0 {
		return nil
	}
	a.passed = slices.Delete(a.passed, i, i+1)
	if !a.begun {
		return fmt.Errorf("no goroutine has begun to accept on %v: %w", a.Addr(), why)
	}
	return fmt.Errorf("the accept loop of %v does not return to Accept: %w", a.Addr(), why)
}

// aLongTimeAgo makes an Accept in progress return.
var aLongTimeAgo = time.Unix(1, 0)

// setDeadline does nothing for a listener without deadlines: its loop passes only when it enters Accept.
func (a *Acceptor) setDeadline(t time.Time) error {
	if l, ok := a.below().(interface{ SetDeadline(t time.Time) error }); ok {
		return l.SetDeadline(t)
	}
	return nil
}

// Expect says that the next connection from source is a probe connection: Accept closes it, continues with the next one, and
// completes the Arrival that Expect has returned. A second call before that returns the same Arrival.
func (a *Acceptor) Expect(source netip.AddrPort) *Arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	source = plain(source)
	arrived, ok := a.expected[source]
	if !ok {
		arrived = &Arrival{done: make(chan struct{})}
		a.expected[source] = arrived
		a.expecting.Add(1)
	}
	return arrived
}

// Forget ends an Expect. Its Arrival stays incomplete, unless the connection has arrived.
func (a *Acceptor) Forget(source netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetLocked(plain(source))
}

func (a *Acceptor) forgetLocked(source netip.AddrPort) (arrived *Arrival, ok bool) {
	if arrived, ok = a.expected[source]; ok {
		delete(a.expected, source)
		a.expecting.Add(-1)
	}
	return arrived, ok
}

// answer reports whether a connection from source was expected, and completes the Arrival of Expect if it was.
func (a *Acceptor) answer(source net.Addr, inode uint32) bool {
	addr, ok := source.(*net.TCPAddr)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	arrived, ok := a.forgetLocked(plain(addr.AddrPort()))
	if ok {
		arrived.inode = inode
		close(arrived.done)
	}
	return ok
}

// noteOrigin notes that a connection was in the queue of another node.
func (a *Acceptor) noteOrigin(source net.Addr, inode uint32) {
	if addr, ok := source.(*net.TCPAddr); ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.origins.note(plain(addr.AddrPort()), inode)
	}
}

// Origin returns the inode of the listener in whose queue a connection from source was, if that was another node's, and only some
// hundred others were accepted from such queues since.
func (a *Acceptor) Origin(source netip.AddrPort) (inode uint32, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.origins.find(plain(source))
}

// plain returns addr in the form in which addresses are compared: a dual-stack listener has IPv4 addresses mapped to IPv6,
// and only one end may name the zone.
func plain(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
}
