package versioned

import "sync/atomic"

// Lease says until when stored values may be served, by the clock. Each Get reads it. The zero value is suspended.
type Lease struct{ until atomic.Int64 }

// Runs reports whether values that were read before may be served. The clock is read at each call: one that ticks by
// itself would stand still in a process that was stopped, and not yet go on in one that wakes.
func (l *Lease) Runs(now int64) bool { return now < l.until.Load() }

// IsOver reports whether the lease has run out, which is not the same as suspended.
func (l *Lease) IsOver(now int64) bool {
	until := l.until.Load()
	return until != 0 && until <= now
}

// RunUntil lets the lease run until a time of the clock.
func (l *Lease) RunUntil(end int64) { l.until.Store(end) }

// Suspend lets nothing be served until RunUntil.
func (l *Lease) Suspend() { l.until.Store(0) }
