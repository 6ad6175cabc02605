package cost

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// monotonic returns the time of CLOCK_MONOTONIC, which all processes of one machine share. The times of
// package time cannot be compared between processes, but for the wall clock, which can be set.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, err
	}
	return time.Duration(now.Nano()), nil
}

// pause stops a process until resume.
func pause(p *child.Process) error  { return p.Signal(unix.SIGSTOP) }
func resume(p *child.Process) error { return p.Signal(unix.SIGCONT) }

// ownCPU returns the CPU time that this process has used. Other than schedstat it is exact while a thread runs.
func ownCPU() (time.Duration, error) {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return 0, err
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}
