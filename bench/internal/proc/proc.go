// Package proc looks at the processes of a measurement, by /proc. A process that has ended has used nothing.
package proc

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prometheus/procfs"
)

// CPU returns the CPU time that processes have used until now, to the nanosecond.
func CPU(pids ...int) (sum time.Duration) {
	for _, pid := range pids {
		threads, _ := procfs.AllThreads(pid) // none if it has ended
		for _, thread := range threads {
			if s, err := thread.Schedstat(); err == nil {
				sum += time.Duration(s.RunningNanoseconds)
			}
		}
	}
	return sum
}

// Memory returns the resident and the proportional memory of processes in MiB: pages that they share count in each, or once in
// all.
func Memory(pids ...int) (rss, pss float64) {
	for _, pid := range pids {
		p, err := procfs.NewProc(pid)
		if err != nil {
			continue
		}
		m, err := p.ProcSMapsRollup()
		if err != nil {
			continue
		}
		rss, pss = rss+float64(m.Rss)/(1<<20), pss+float64(m.Pss)/(1<<20)
	}
	return rss, pss
}

// Stat returns the kernel's figures of a process. The error Is os.ErrProcessDone for a process that has ended and was not reaped.
func Stat(pid int) (s procfs.ProcStat, err error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return s, err
	}
	if s, err = p.Stat(); err == nil && (s.State == "Z" || s.State == "X") {
		err = fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return s, err
}

// Runs tells whether a process goes on that Stat has seen: another one may have its id.
func Runs(s procfs.ProcStat) bool {
	now, err := Stat(s.PID)
	return err == nil && now.Starttime == s.Starttime
}

// Find returns the processes that match, in the order in which they were started.
func Find(match func(procfs.ProcStat) bool) (found []procfs.ProcStat) {
	all, _ := procfs.AllProcs() // it fails without /proc
	for _, p := range all {
		if s, err := Stat(p.PID); err == nil && match(s) {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b procfs.ProcStat) int { return cmp.Compare(a.Starttime, b.Starttime) })
	return found
}

// PIDs returns the ids of processes.
func PIDs(all []procfs.ProcStat) (pids []int) {
	for _, s := range all {
		pids = append(pids, s.PID)
	}
	return pids
}
