package invalidate

import (
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// holdSteps bounds how often it is looked which keys are held no longer, in the time for which they are.
const holdSteps = 8

// hold keeps keys blocked whose update may still be committed: nobody knows what has become of it.
type hold[K comparable] struct {
	long time.Duration
	end  func(keys []K) // ends one block of each; it may be called at any time

	mu     sync.Mutex
	until  map[K]int64    // guarded by mu; by the clock; nil after close
	timer  *time.Timer    // guarded by mu; nil before its first use
	ending sync.WaitGroup // calls of end by the timer
}

func newHold[K comparable](long time.Duration) *hold[K] {
	return &hold[K]{long: long, until: make(map[K]int64)}
}

// add takes over one block of each key, which ends when the time is over. A key that is held already has one block less, and
// is held for longer.
func (h *hold[K]) add(keys []K) {
	h.end(h.take(keys))
}

// take returns the keys whose block is not needed.
func (h *hold[K]) take(keys []K) (needless []K) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil || len(keys) == 0 { // the process leaves: others hold the keys that are open
		return nil
	}
	if h.long == 0 {
		return keys
	}
	until := clock.Now() + int64(h.long)
	for _, key := range keys {
		if _, isHeld := h.until[key]; isHeld {
			needless = append(needless, key)
		}
		h.until[key] = until
	}
	if len(h.until) == len(keys)-len(needless) { // they are the first ones
		h.wakeAfter(h.long)
	}
	return needless
}

func (h *hold[K]) wakeAfter(d time.Duration) {
	if h.timer == nil {
		h.timer = time.AfterFunc(d, h.expire)
		return
	}
	h.timer.Reset(d)
}

// expire ends what was held for long enough.
func (h *hold[K]) expire() {
	over := h.takeOver()
	if over != nil {
		defer h.ending.Done()
		h.end(over)
	}
}

func (h *hold[K]) takeOver() (over []K) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, next := clock.Now(), int64(0)
	for key, until := range h.until {
		switch {
		case until <= now:
			over = append(over, key)
			delete(h.until, key)
		case next == 0 || until < next:
			next = until
		}
	}
	if next != 0 {
		h.wakeAfter(max(time.Duration(next-now), h.long/holdSteps))
	}
	if over != nil {
		h.ending.Add(1)
	}
	return over
}

// close ends nothing any more, and waits for what is being ended.
func (h *hold[K]) close() {
	h.mu.Lock()
	h.until = nil
	if h.timer != nil {
		h.timer.Stop()
	}
	h.mu.Unlock()
	h.ending.Wait()
}
