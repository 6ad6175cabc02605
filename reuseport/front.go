package reuseport

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// front is where goroutines wait in Accept. They wait for the own listener; an offer wakes one of them to accept from another queue.
// Accepting is its part, so that a connection that was accepted has a goroutine to return it to.
type front struct {
	own       *net.TCPListener
	waiting   atomic.Int32 // goroutines that are in Accept
	attention atomic.Bool  // the next that enters Accept has something else to do

	mu       sync.Mutex
	deadline time.Time // guarded by mu; the user's
	poked    bool      // guarded by mu; the deadline of own is in the past, so that Accept returns

	offered atomic.Pointer[watchedQueue] // for the next in Accept; written with mu held
	trying  atomic.Pointer[watchedQueue] // that a goroutine in Accept accepts from
}

func (f *front) setDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deadline = t
	if f.poked {
		return nil // unpoke sets it
	}
	return f.own.SetDeadline(t)
}

// aLongTimeAgo makes a call in progress return.
var aLongTimeAgo = time.Unix(1, 0)

// offer wakes a goroutine that is in Accept, to accept from q. It returns false if there is none, or another offer is under way.
func (f *front) offer(q *watchedQueue) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting.Load() == 0 || f.poked || f.trying.Load() != nil || f.own.SetDeadline(aLongTimeAgo) != nil {
		return false
	}
	f.offered.Store(q)
	f.poked = true
	return true
}

// isBusyWith reports whether an offer of q is under way.
func (f *front) isBusyWith(q *watchedQueue) bool {
	return f.offered.Load() == q || f.trying.Load() == q
}

// retract takes an offer back. It returns false if a goroutine in Accept has taken it.
func (f *front) retract(q *watchedQueue) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.offered.Load() != q {
		return false
	}
	f.unpoke()
	return true
}

// unpoke ends an offer. It is called with mu held.
func (f *front) unpoke() {
	f.offered.Store(nil)
	f.poked = false
	_ = f.own.SetDeadline(f.deadline) // of a closed listener; Accept will say so
}

// take returns the queue that is offered. Where there is none, expired reports whether the user's deadline is over.
func (f *front) take() (q *watchedQueue, expired bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.poked { // another goroutine may have taken the offer
		return nil, !f.deadline.IsZero() && !time.Now().Before(f.deadline)
	}
	q = f.offered.Load()
	f.trying.Store(q)
	f.unpoke()
	return q, false
}

// acceptFrom accepts from a queue that take has returned. It returns nil if another process was faster.
func (f *front) acceptFrom(q *watchedQueue) *net.TCPConn {
	defer f.trying.Store(nil)
	return q.accept()
}
