package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time of CLOCK_MONOTONIC, which all processes of a machine share. The times of package time cannot be compared between
// processes, but for the wall clock, which can be set.
func Now() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	return time.Duration(t.Nano())
}
