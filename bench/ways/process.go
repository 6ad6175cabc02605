//go:build linux

package ways

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is one that runs now. Its start tells it from a later one with its id.
type process struct {
	pid, group int
	start      uint64 // in clock ticks since the system's
}

// readProcess reads /proc/PID/stat. A zombie counts as gone.
func readProcess(pid int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold spaces, but no workers' name holds this
	const state, group, start = 0, 2, 19          // proc_pid_stat(5) counts them from 3
	fields := strings.Fields(rest)
	if len(fields) <= start || fields[state] == "Z" || fields[state] == "X" {
		return process{}, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	p := process{pid: pid}
	if p.group, err = strconv.Atoi(fields[group]); err != nil {
		return process{}, err
	}
	p.start, err = strconv.ParseUint(fields[start], 10, 64)
	return p, err
}

func (p process) runs() bool {
	now, err := readProcess(p.pid)
	return err == nil && now.start == p.start
}

// group returns the processes of a group, the first one first. It finds workers whose parent is gone, too.
func group(id int) (all []process) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil && p.group == id { // else it has gone
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b process) int { return cmp.Compare(a.start, b.start) }) // the others came later
	return all
}

func pids(all []process) (list []int) {
	for _, p := range all {
		list = append(list, p.pid)
	}
	return list
}
