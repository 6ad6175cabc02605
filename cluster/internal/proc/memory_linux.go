package proc

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// outOfMemoryKills returns how many processes the kernel has killed so far for lack of memory: in our memory control group if it
// counts them (memory.events of version 2, memory.oom_control of version 1), else on the whole machine (/proc/vmstat). 0 if
// nothing counts them.
func outOfMemoryKills() int {
	for _, path := range append(memoryEvents(), "/proc/vmstat") {
		if kills, ok := counter(path, "oom_kill"); ok {
			return kills
		}
	}
	return 0
}

// memoryEvents returns the files in which our memory control group may count. See cgroups(7).
func memoryEvents() (paths []string) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(groups)) { // hierarchy:controllers:path
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) != 3:
		case fields[1] == "":
			paths = append(paths, filepath.Join("/sys/fs/cgroup", fields[2], "memory.events"))
		case fields[1] == "memory":
			paths = append(paths, filepath.Join("/sys/fs/cgroup/memory", fields[2], "memory.oom_control"))
		}
	}
	return paths
}

// counter reads the line "name number" of a file.
func counter(path, name string) (int, bool) {
	file, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), " "); ok && key == name {
			number, err := strconv.Atoi(value)
			return number, err == nil
		}
	}
	return 0, false
}
