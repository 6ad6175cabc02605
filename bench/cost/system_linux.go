package cost

import (
	"golang.org/x/sys/unix"
)

// monotonic returns the time of CLOCK_MONOTONIC in nanoseconds, which all processes of one machine share. The times of
// package time cannot be compared between processes, but for the wall clock, which can be set.
func monotonic() (int64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, err
	}
	return now.Nano(), nil
}

// pause stops a process until resume.
func (p *process) pause() error  { return p.cmd.Process.Signal(unix.SIGSTOP) }
func (p *process) resume() error { return p.cmd.Process.Signal(unix.SIGCONT) }
