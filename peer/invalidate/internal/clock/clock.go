// Package clock is the clock of leases and lives: nanoseconds since the process began. It cannot be set.
package clock

import (
	"math"
	"time"
)

const (
	// Forever is after all times.
	Forever = math.MaxInt64
	// Never is before all times.
	Never = math.MinInt64
)

// epoch is the begin of the clock. Only differences matter, and they are the same in all processes of the machine: Go computes
// them with the monotonic clock of the system, which stands still while the machine sleeps, for all processes alike.
var epoch = time.Now()

// Now returns the time in nanoseconds, never 0.
func Now() int64 { return int64(time.Since(epoch)) + 1 }
