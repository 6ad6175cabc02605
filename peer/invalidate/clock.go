package invalidate

import "time"

// epoch is where the clock begins. What counts are differences, and they are the same in all processes of the machine:
// Go takes them from the monotonic clock of the system. That stands still while the machine sleeps, for all alike.
var epoch = time.Now()

// now returns the time in nanoseconds, never 0.
func now() int64 { return int64(time.Since(epoch)) + 1 }
