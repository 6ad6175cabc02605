package proc

import (
	"os"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Bind lets all threads of this process, and what it starts, run on some CPUs only. No CPUs are all.
func Bind(cpus []int) error {
	if len(cpus) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	threads, err := procfs.AllThreads(os.Getpid())
	if err != nil {
		return err
	}
	for _, thread := range threads { // a new thread has the set of its parent
		if err := unix.SchedSetaffinity(thread.PID, &set); err != nil && err != unix.ESRCH {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}
