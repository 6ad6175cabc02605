package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic returns the time since some event in the past in nanoseconds, the same for all processes of the machine
// (CLOCK_MONOTONIC, clock_gettime(2)).
func monotonic() int64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil { // fails for a clock that does not exist only
		return time.Now().UnixNano()
	}
	return now.Nano()
}
