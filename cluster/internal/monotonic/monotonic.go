// Package monotonic reads the clock that all processes of a machine share.
//
// A time.Time's own monotonic reading means nothing in another process: what two processes compare, or tell the service
// manager, is a time of this clock.
package monotonic

import "time"

// Now returns the time since some point in the past, usually the boot: CLOCK_MONOTONIC (clock_gettime(2)). It is 0 where
// the clock cannot be read, and on systems other than Linux.
func Now() time.Duration { return now() }
