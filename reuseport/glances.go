package reuseport

import (
	"sync/atomic"
	"time"
)

// glanceInterval is the time between two looks at the queues of siblings in WatchPolling.
const glanceInterval = time.Millisecond

// glances says when the queues of siblings are to be looked at.
type glances struct {
	last atomic.Int64 // nanoseconds since started
}

// started is when the clock of glances began.
var started = time.Now()

// isDue reports whether it is time for a look, to one of those that ask.
func (g *glances) isDue() bool {
	now, last := int64(time.Since(started)), g.last.Load()
	return now-last >= int64(glanceInterval) && g.last.CompareAndSwap(last, now)
}
