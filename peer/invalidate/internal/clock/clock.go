// Package clock is the clock of leases and lives: nanoseconds since the process began, which nobody can set.
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

// epoch is where the clock begins. What counts are differences, and they are the same in all processes of the machine:
// Go takes them from the monotonic clock of the system. That stands still while the machine sleeps, for all alike.
var epoch = time.Now()

// Now returns the time in nanoseconds, never 0.
func Now() int64 { return int64(time.Since(epoch)) + 1 }
