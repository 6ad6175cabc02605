package cluster

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// runDelay returns how long the threads of a process have waited for a CPU so far: that which waited longest, as they
// wait at the same time. It is the second field of /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst),
// 0 where the kernel does not count it.
func runDelay(pid int) (longest time.Duration) {
	paths, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat") // fails for a malformed pattern only
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		fields := strings.Fields(string(stat))
		if err != nil || len(fields) < 2 {
			continue // the thread is gone
		}
		if delay, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			longest = max(longest, time.Duration(delay))
		}
	}
	return longest
}
