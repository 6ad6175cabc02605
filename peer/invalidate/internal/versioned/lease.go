package versioned

import "sync/atomic"

// Lease is the time until which stored values may be served, by the clock. Each Get reads it. The zero value is suspended.
type Lease struct{ until atomic.Int64 }

// Runs reports whether values that were read before may be served. The caller reads the clock for each call: a cached time would
// be too old in a process that was stopped and goes on.
func (l *Lease) Runs(now int64) bool { return now < l.until.Load() }

// IsOver reports whether the lease has expired. A suspended lease has not.
func (l *Lease) IsOver(now int64) bool {
	until := l.until.Load()
	return until != 0 && until <= now
}

// RunUntil lets the lease run until a time of the clock.
func (l *Lease) RunUntil(end int64) { l.until.Store(end) }

// Suspend lets nothing be served until RunUntil.
func (l *Lease) Suspend() { l.until.Store(0) }
