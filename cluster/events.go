package cluster

import (
	"math"
	"sync"
	"time"
)

const (
	// remembered is how many events a journal keeps, and how many a watcher may be behind.
	remembered = 1000
	// fromNow is for watch: none of the events that were.
	fromNow = math.MaxInt
)

// journal remembers the last events of a cluster and tells each new one to those who watch. The zero value is ready to
// use. All methods may be called at the same time, and none of them waits for a watcher.
type journal struct {
	mu       sync.Mutex
	seq      int                     // guarded by mu; of the last event
	past     []Event                 // guarded by mu; a ring: the event of seq is at (seq-1) % remembered
	watchers map[chan Event]struct{} // guarded by mu
	closed   bool                    // guarded by mu
	reading  int                     // guarded by mu; watchers that have not canceled
	left     chan struct{}           // guarded by mu; closed when reading is 0, nil: nobody waits for that
}

// emit adds an event, with the next Seq and the time of now. A watcher that has no room for it is done: its channel is
// closed. After close emit does nothing.
func (j *journal) emit(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.seq++
	e.Seq, e.Time = j.seq, time.Now()
	if len(j.past) < remembered {
		j.past = append(j.past, e)
	} else {
		j.past[(e.Seq-1)%remembered] = e
	}
	for w := range j.watchers {
		select {
		case w <- e:
		default:
			j.dropLocked(w)
		}
	}
}

// watch returns the events behind the one of Seq after that are remembered, and those to come: no event is missing
// between the two, or in both. If there never was an event of that Seq, its reader knows another master, and gets all that
// are remembered; fromNow gets none.
//
// next is closed by cancel, which may be called again, by close, and when its reader is behind by 1,000 events.
func (j *journal) watch(after int) (past []Event, next <-chan Event, cancel func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	past = j.afterLocked(after)
	w := make(chan Event, remembered)
	if j.closed {
		close(w)
		return past, w, func() {}
	}
	if j.watchers == nil {
		j.watchers = make(map[chan Event]struct{})
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

// awaitReaders waits until all watchers have canceled, after close, but no longer than timeout: they have told their readers
// the last event by then.
func (j *journal) awaitReaders(timeout time.Duration) {
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

// close ends all watchers, once they have read what there was.
func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for w := range j.watchers {
		j.dropLocked(w)
	}
}

func (j *journal) afterLocked(after int) []Event {
	if after == fromNow {
		return nil
	}
	if after > j.seq {
		after = 0
	}
	var past []Event
	for seq := max(after, j.seq-len(j.past)) + 1; seq <= j.seq; seq++ {
		past = append(past, j.past[(seq-1)%remembered])
	}
	return past
}

func (j *journal) dropLocked(w chan Event) {
	if _, watches := j.watchers[w]; watches {
		delete(j.watchers, w)
		close(w)
	}
}
