package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// threadTime is what the kernel counts of a thread: how long it has run, and how long it has waited for a CPU before it ran.
// These are the first fields of /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst), 0 where the kernel
// does not count them.
type threadTime struct {
	ran, waited time.Duration
	runnable    bool // it runs, or waits for a CPU
}

// threadTimes are those of a process, by thread.
type threadTimes map[string]threadTime

func readThreadTimes(pid int) threadTimes {
	paths, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*") // fails for a malformed pattern only
	times := make(threadTimes, len(paths))
	for _, path := range paths {
		if t, ok := readThreadTime(path); ok {
			times[filepath.Base(path)] = t
		}
	}
	return times
}

// readThreadTime returns false when the thread is gone.
func readThreadTime(path string) (t threadTime, ok bool) {
	schedstat, err := os.ReadFile(filepath.Join(path, "schedstat"))
	fields := strings.Fields(string(schedstat))
	if err != nil || len(fields) < 2 {
		return t, false
	}
	ran, ranErr := strconv.ParseInt(fields[0], 10, 64)
	waited, waitedErr := strconv.ParseInt(fields[1], 10, 64)
	stat, err := os.ReadFile(filepath.Join(path, "stat"))
	_, state, found := bytes.Cut(stat, []byte(") ")) // behind the name, see proc_pid_stat(5)
	if ranErr != nil || waitedErr != nil || err != nil || !found {
		return t, false
	}
	return threadTime{time.Duration(ran), time.Duration(waited), bytes.HasPrefix(state, []byte("R"))}, true
}

// starvedSince returns how long threads have waited for a CPU since the times before, which were read elapsed ago: the thread
// that waited longest, as they wait at the same time. The kernel counts a wait when it ends. A thread that is runnable and
// whose times have not changed has waited for all of elapsed, where the kernel counts at all.
func (now threadTimes) starvedSince(before threadTimes, elapsed time.Duration) (longest time.Duration) {
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
