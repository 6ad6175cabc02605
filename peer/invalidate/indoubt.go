package invalidate

import (
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// doubtSteps bounds how often the keys are checked while they are in doubt.
const doubtSteps = 8

// inDoubt keeps keys blocked whose update is in doubt: it may still be committed.
type inDoubt[K comparable] struct {
	long time.Duration
	end  func(keys []K) // ends one block of each key; may be called at any time

	mu     sync.Mutex
	until  map[K]int64    // guarded by mu; by the clock; nil after close
	timer  *time.Timer    // guarded by mu; nil before its first use
	ending sync.WaitGroup // calls of end by the timer
}

func newInDoubt[K comparable](long time.Duration) *inDoubt[K] {
	return &inDoubt[K]{long: long, until: make(map[K]int64)}
}

// add takes over one block of each key, and ends it when the time is over. For a key that is in doubt already, it ends one
// block now and extends the time.
func (d *inDoubt[K]) add(keys []K) {
	d.end(d.take(keys))
}

// take records the keys, and returns those whose block is not needed.
func (d *inDoubt[K]) take(keys []K) (needless []K) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil || len(keys) == 0 { // the process leaves: others keep the keys blocked
		return nil
	}
	if d.long == 0 {
		return keys
	}
	until := clock.Now() + int64(d.long)
	for _, key := range keys {
		if _, isInDoubt := d.until[key]; isInDoubt {
			needless = append(needless, key)
		}
		d.until[key] = until
	}
	if len(d.until) == len(keys)-len(needless) { // they are the first ones
		d.wakeAfter(d.long)
	}
	return needless
}

func (d *inDoubt[K]) wakeAfter(after time.Duration) {
	if d.timer == nil {
		d.timer = time.AfterFunc(after, d.expire)
		return
	}
	d.timer.Reset(after)
}

// expire ends the blocks of keys that were in doubt for long enough.
func (d *inDoubt[K]) expire() {
	over := d.takeOver()
	if over != nil {
		defer d.ending.Done()
		d.end(over)
	}
}

func (d *inDoubt[K]) takeOver() (over []K) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, next := clock.Now(), int64(0)
	for key, until := range d.until {
		switch {
		case until <= now:
			over = append(over, key)
			delete(d.until, key)
		case next == 0 || until < next:
			next = until
		}
	}
	if next != 0 {
		d.wakeAfter(max(time.Duration(next-now), d.long/doubtSteps))
	}
	if over != nil {
		d.ending.Add(1)
	}
	return over
}

// close stops the timer, and waits for calls of end by it.
func (d *inDoubt[K]) close() {
	d.mu.Lock()
	d.until = nil
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	d.ending.Wait()
}
