package invalidate

import (
	"math"
	"sync/atomic"
)

// forever is the end of the lease of a process that has no peers.
const forever = math.MaxInt64

// never is before all times.
const never = math.MinInt64

// lease says until when stored values may be served. It is read by each Get, and set by the group.
type lease struct {
	until atomic.Int64 // 0: suspended
}

// runs reports whether values that were read before may be served. The clock is read at each call: one that ticks by
// itself would stand still in a process that was stopped, and not yet go on in one that wakes.
func (l *lease) runs(now int64) bool { return now < l.until.Load() }

// isOver reports whether the lease has run out, which is not the same as suspended.
func (l *lease) isOver(now int64) bool {
	until := l.until.Load()
	return until != 0 && until <= now
}
