package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func readThreadTimes(pid int) ThreadTimes {
	paths, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*") // fails for a malformed pattern only
	times := make(ThreadTimes, len(paths))
	for _, path := range paths {
		if t, ok := readThreadTime(path); ok {
			times[filepath.Base(path)] = t
		}
	}
	return times
}

// readThreadTime reads the first fields of /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst) and the
// state of the thread. It returns false when the thread is gone.
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
