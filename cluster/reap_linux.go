package cluster

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// reapStrangers reaps the dead that the kernel has made our children since their parents are gone, as process 1 must.
// It is a goroutine that ends with done.
//
// A child that the program has started itself looks the same, and its Wait would fail if we took its exit. So only
// those are reaped that have been dead for a whole interval.
func reapStrangers(done <-chan struct{}, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before map[int]bool
	for {
		select {
		case <-ticker.C:
		case <-done:
			return
		}
		now := zombiesOf(os.Getpid())
		for pid := range now {
			if before[pid] {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // somebody may have been faster
			}
		}
		before = now
	}
}

// childrenOf returns the children of all threads of a process (/proc/PID/task/TID/children, proc(5)).
func childrenOf(pid int) (children []int) {
	paths, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children") // fails for a malformed pattern only
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // the thread is gone
		}
		for field := range strings.FieldsSeq(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// zombiesOf returns the children of a process that are dead and not waited for. See proc_pid_stat(5).
func zombiesOf(parent int) map[int]bool {
	dead := make(map[int]bool)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // fails for a malformed pattern only
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		// The name, in parentheses, may hold anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[0] != "Z" || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			dead[pid] = true
		}
	}
	return dead
}
