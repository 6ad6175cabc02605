package compare

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is the CPU time that processes have used.
type usage struct {
	total        time.Duration // to the nanosecond
	user, system float64       // in ticks of 10 ms, which are too coarse for more than their ratio
}

// usageOf returns what processes have used until now; one that has ended counts as nothing.
func usageOf(pids []int) (u usage) {
	for _, pid := range pids {
		u.total += threadTime(pid)
		user, system := ticks(pid)
		u.user, u.system = u.user+user, u.system+system
	}
	return u
}

// since returns what was used between before and u, split into user and system.
func (u usage) since(before usage) (total, user, system time.Duration) {
	total = u.total - before.total
	share := 0.5
	if all := u.user - before.user + u.system - before.system; all > 0 {
		share = (u.user - before.user) / all
	}
	user = time.Duration(share * float64(total))
	return total, user, total - user
}

// threadTime adds up the first number of /proc/PID/task/*/schedstat, in nanoseconds (sched-stats in the kernel's
// documentation).
func threadTime(pid int) (sum time.Duration) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, thread := range threads {
		text, err := os.ReadFile(dir + "/" + thread.Name() + "/schedstat")
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		ran, _ := strconv.ParseInt(first, 10, 64) // a number, by the kernel's word
		sum += time.Duration(ran)
	}
	return sum
}

// ticks returns utime and stime of proc_pid_stat(5).
func ticks(pid int) (user, system float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	const utime, stime = 11, 12 // counted from the state, which follows the name
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= stime {
		return 0, 0
	}
	user, _ = strconv.ParseFloat(string(fields[utime]), 64)
	system, _ = strconv.ParseFloat(string(fields[stime]), 64)
	return user, system
}

// memoryOf returns resident and proportional memory in MiB: pages that processes share count in each, or once in all.
func memoryOf(pids []int) (rss, pss float64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		rss += kilobytes(text, "Rss:") / 1024
		pss += kilobytes(text, "Pss:") / 1024
	}
	return rss, pss
}

// kilobytes returns the number of a line "NAME 123 kB", 0 if there is none.
func kilobytes(text []byte, name string) float64 {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && fields[0] == name {
			n, _ := strconv.ParseFloat(fields[1], 64)
			return n
		}
	}
	return 0
}

// setAffinity lets this process, and those that it starts, run on these CPUs only.
func setAffinity(cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks { // a new thread has the set of the one that makes it
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}
