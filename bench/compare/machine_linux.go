package compare

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/prometheus/procfs"

	"github.com/multinode-go/multinode/bench/report"
)

// machine tells where this runs. What cannot be found out is left empty.
func machine() report.Machine {
	m := report.Machine{CPUs: runtime.NumCPU(), OS: system(), Go: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0), Revision: revision()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return m
	}
	if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 {
		m.CPU = cpus[0].ModelName
	}
	if memory, err := fs.Meminfo(); err == nil && memory.MemTotalBytes != nil {
		m.Memory = int64(*memory.MemTotalBytes)
	}
	if load, err := fs.LoadAvg(); err == nil {
		m.Load = load.Load1
	}
	return m
}

// system returns the name of the distribution.
func system() string {
	text, _ := os.ReadFile("/etc/os-release") // empty if there is none
	_, rest, _ := strings.Cut("\n"+string(text), "\nPRETTY_NAME=")
	name, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(name, `"`)
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
