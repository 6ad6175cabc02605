package compare

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/report"
)

// machine tells where this runs. What cannot be found out is left empty.
func machine() report.Machine {
	m := report.Machine{
		CPU: field("/proc/cpuinfo", "model name"), CPUs: runtime.NumCPU(), OS: field("/etc/os-release", "PRETTY_NAME"),
		Go: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0), Revision: revision(),
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(text), " ")
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	return m
}

// field returns the value of the first line "NAME: value" or "NAME=value" of a file.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, found := strings.Cut(lines.Text(), ":")
		if !found {
			key, value, _ = strings.Cut(lines.Text(), "=")
		}
		if strings.TrimSpace(key) == name {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// revision returns the commit of this project, where the program was built with it: go run leaves it out.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
