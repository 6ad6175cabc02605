// Package journal keeps the last events of a program and passes each new one on to its watchers.
//
// Events are numbered from 1. A watcher that returns passes the number of the last event that it has seen: it gets the events
// after that, past and future, each once and in order. Emit never waits for a watcher: a watcher that is too far behind loses its
// channel, and has to watch again.
//
// The type of an event is the caller's. Events are values: the journal hands out copies.
package journal

import (
	"math"
	"sync"
	"time"
)

const (
	// Capacity is how many events a journal remembers, and how many a watcher may be behind.
	Capacity = 1000
	// FromNow is for [Journal.Watch]: no event of the past.
	FromNow = math.MaxInt
)

// Journal is a log of events of type E. All methods may be called at the same time, and none but AwaitReaders blocks.
type Journal[E any] struct {
	stamp func(e E, seq int, now time.Time) E

	mu       sync.Mutex
	seq      int                 // of the last event; guarded by mu
	past     []E                 // a ring: the event of seq is at (seq-1) % Capacity; guarded by mu
	watchers map[chan E]struct{} // guarded by mu
	closed   bool                // guarded by mu
	reading  int                 // watchers that have not canceled; guarded by mu
	left     chan struct{}       // closed when reading gets 0; nil while AwaitReaders does not wait; guarded by mu
}

// New returns an empty journal. stamp returns an event with its number and its time set; it must not call the journal.
func New[E any](stamp func(e E, seq int, now time.Time) E) *Journal[E] {
	return &Journal[E]{stamp: stamp, watchers: make(map[chan E]struct{})}
}

// Emit adds an event, with the next number and the time of now. A watcher that has no room for it is done: its channel is
// closed. After Close Emit does nothing.
func (j *Journal[E]) Emit(e E) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.seq++
	e = j.stamp(e, j.seq, time.Now())
	if len(j.past) < Capacity {
		j.past = append(j.past, e)
	} else {
		j.past[(j.seq-1)%Capacity] = e
	}
	for w := range j.watchers {
		select {
		case w <- e:
		default:
			j.dropLocked(w)
		}
	}
}

// Watch returns the remembered events after number after, and a channel with future ones: no event is missing between the two, or
// in both. If the journal has not reached number after, the reader means another journal, and gets all events that are
// remembered; [FromNow] gets none.
//
// next is closed by cancel, by Close, and when its reader is behind by [Capacity] events. The caller must call cancel, and may
// call it more than once.
func (j *Journal[E]) Watch(after int) (past []E, next <-chan E, cancel func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	past = j.afterLocked(after)
	w := make(chan E, Capacity)
	if j.closed {
		close(w)
		return past, w, func() {}
	}
	j.watchers[w] = struct{}{}
	j.reading++
	return past, w, sync.OnceFunc(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.dropLocked(w)
		if j.reading--; j.reading == 0 && j.left != nil {
			close(j.left)
			j.left = nil
		}
	})
}

// AwaitReaders waits, after Close, until all watchers have canceled, but no longer than timeout: their readers have passed
// on the last event by then. Only one goroutine may wait.
func (j *Journal[E]) AwaitReaders(timeout time.Duration) {
	j.mu.Lock()
	left := make(chan struct{})
	if j.reading == 0 {
		close(left)
	} else {
		j.left = left
	}
	j.mu.Unlock()
	select {
	case <-left:
	case <-time.After(timeout):
	}
}

// Close closes the channels of all watchers, which can still read what is in them. A second call does nothing.
func (j *Journal[E]) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for w := range j.watchers {
		j.dropLocked(w)
	}
}

func (j *Journal[E]) afterLocked(after int) []E {
	if after == FromNow {
		return nil
	}
	if after > j.seq {
		after = 0
	}
	var past []E
	for seq := max(after, j.seq-len(j.past)) + 1; seq <= j.seq; seq++ {
		past = append(past, j.past[(seq-1)%Capacity])
	}
	return past
}

func (j *Journal[E]) dropLocked(w chan E) {
	if _, watches := j.watchers[w]; watches {
		delete(j.watchers, w)
		close(w)
	}
}
