package reuseport

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// watchedQueue is the queue of a sibling, as it is accepted from.
type watchedQueue struct {
	inode    uint32           // of the sibling's listener
	listener *net.TCPListener // with its socket; nothing in the poller is its own
	accepted atomic.Uint64
	late     atomic.Bool // the deadline of listener is in the past
	gone     atomic.Bool // the sibling does not listen any more
}

// accept accepts from the queue. It returns nil if another process was faster: net's Accept waits for the next connection then, and
// interrupt ends the wait.
func (q *watchedQueue) accept() *net.TCPConn {
	if q.late.Swap(false) && q.listener.SetDeadline(time.Time{}) != nil {
		return nil
	}
	conn, err := q.listener.AcceptTCP()
	if err == nil {
		q.accepted.Add(1)
		return conn
	}
	if errors.Is(err, syscall.EINVAL) { // it was shut down
		q.gone.Store(true)
	}
	return nil // the server hears of an error that lasts, such as EMFILE, from its own queue
}

func (q *watchedQueue) interrupt() {
	q.late.Store(true)
	_ = q.listener.SetDeadline(aLongTimeAgo) // a listener that is closed is another end of the wait
}

// sibling is a listener of another process, whose queue is watched. Its goroutine waits for a connection, and has a goroutine in
// Accept accept it: a connection is taken only where there is one to return it to.
type sibling struct {
	watchedQueue
	front  *front
	mode   WatchMode
	source *file // what the goroutine waits for: the bell, or where there is none another descriptor of the socket
	rings  bool  // source is a bell

	registered bool          // guarded by the mutex of the MultiListener
	starving   bool          // guarded by it; the goroutine waits for another one to enter Accept
	kicks      chan struct{} // holds a value when the goroutine is to go on
	closing    chan struct{} // closed when it is to end
	done       chan struct{} // closed when it has
}

// newSibling returns the sibling with the socket of b, which it owns if there is no error.
func newSibling(b *Borrowed, mode WatchMode, f *front) (*sibling, error) {
	inode, err := Inode(b)
	if err != nil {
		return nil, err
	}
	l, err := acceptingFrom(b)
	if err != nil {
		return nil, err
	}
	q := &sibling{
		watchedQueue: watchedQueue{inode: inode, listener: l}, front: f, mode: mode, source: b.socket,
		kicks: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if b.bell != nil {
		q.source, q.rings = b.bell, true
		_ = b.socket.Close() // it is a duplicate
	}
	return q, nil
}

// bell returns the sibling's bell, nil if it has none.
func (q *sibling) bell() *file {
	if !q.rings {
		return nil
	}
	return q.source
}

// find returns the sibling with an inode, nil if there is none.
func find(siblings []*sibling, inode uint32) *sibling {
	for _, q := range siblings {
		if q.inode == inode {
			return q
		}
	}
	return nil
}

// run is the goroutine. It ends with close, or when the sibling does not listen any more: then it returns true. Where nothing
// accepts, it calls starve, which returns true if a goroutine has entered Accept, and else sees to a kick when one does.
func (q *sibling) run(starve func(*sibling) bool) (gone bool) {
	defer close(q.done)
	for q.await() {
		for !q.hand() {
			if !starve(q) && !q.awaitKick() {
				return false
			}
		}
		if q.gone.Load() {
			return true
		}
	}
	return false
}

// await waits until a connection seems to be in the queue. It returns false when the goroutine is to end.
func (q *sibling) await() bool {
	if q.mode == WatchPolling {
		return q.awaitKick()
	}
	raw, err := q.source.SyscallConn()
	if err != nil {
		return false
	}
	woken := false // a registration is level-triggered: what is left in the queue wakes again
	return raw.Read(func(uintptr) bool {
		was := woken
		woken = true
		return was
	}) == nil
}

func (q *sibling) awaitKick() bool {
	select {
	case <-q.kicks:
		return true
	case <-q.closing:
		return false
	}
}

func (q *sibling) kick() {
	select {
	case q.kicks <- struct{}{}:
	default:
	}
}

// offerTurns is how often the goroutine lets others run before it takes an offer back. An accept of a connection that is there takes one
// turn.
const offerTurns = 100

// hand lets a goroutine in Accept accept from the queue, and returns when it has. It returns false if there is none.
func (q *sibling) hand() bool {
	for turns := 0; !q.front.offer(&q.watchedQueue); turns++ {
		if turns == offerTurns {
			return false
		}
		runtime.Gosched()
	}
	for turns := 0; q.front.isBusyWith(&q.watchedQueue); turns++ {
		if turns >= offerTurns {
			if q.front.retract(&q.watchedQueue) {
				return false
			}
			q.interrupt()
		}
		runtime.Gosched()
	}
	return true
}

// register makes connections wake the goroutine. It is called with the mutex of the MultiListener held.
func (q *sibling) register() error {
	if q.registered {
		return nil
	}
	err := control(q.listener, func(fd int) error { return q.source.entry.register(fd, levelTriggered) })
	if err == nil && q.rings {
		err = control(q.source, func(fd int) error { return q.source.entry.register(fd, edgeTriggered) })
	}
	q.registered = err == nil
	return err
}

// unregister is called with that mutex held.
func (q *sibling) unregister() {
	if q.registered {
		_ = control(q.listener, unregister) // it is registered
		if q.rings {
			_ = control(q.source, unregister)
		}
		q.registered = false
	}
}

// passOn wakes another process that watches the queue, or its owner: this process may have been woken in their place.
func (q *sibling) passOn() {
	if q.rings {
		_ = ring(q.source) // it cannot be full
	}
}

// close ends the goroutine, and closes the descriptors. It is called with that mutex held, and does not wait.
func (q *sibling) close() error {
	q.unregister()
	q.passOn()
	close(q.closing)
	return errors.Join(q.listener.Close(), q.source.Close())
}
