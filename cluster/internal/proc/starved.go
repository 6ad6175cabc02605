package proc

import "time"

// ThreadTimes are the kernel's counters of the threads of a process, by thread.
type ThreadTimes map[string]threadTime

// threadTime is how long a thread has run, and how long it has waited for a CPU before it ran: both 0 where the kernel does not
// count them.
type threadTime struct {
	ran, waited time.Duration
	runnable    bool // it runs, or waits for a CPU
}

// ReadThreadTimes reads the times of the threads of a process. There are none for a process that has ended, and on systems
// other than Linux.
func ReadThreadTimes(pid int) ThreadTimes { return readThreadTimes(pid) }

// StarvedSince returns how long threads have waited for a CPU since the times before, which were read elapsed ago: the thread
// that waited longest, as they wait at the same time. The kernel counts a wait when it ends. A thread that is runnable and
// whose times have not changed has waited for all of elapsed, where the kernel counts at all.
func (now ThreadTimes) StarvedSince(before ThreadTimes, elapsed time.Duration) (longest time.Duration) {
	for id, t := range now {
		b, known := before[id]
		switch {
		case !known:
			continue
		case t.runnable && t == b && t.ran > 0:
			longest = max(longest, elapsed)
		default:
			longest = max(longest, t.waited-b.waited)
		}
	}
	return longest
}
