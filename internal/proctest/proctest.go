// Package proctest tells tests what the kernel says of a process.
package proctest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// IsStopped reports whether all threads of a process have stopped, as after SIGSTOP, see proc_pid_stat(5). Where there is
// no /proc, none has.
func IsStopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return err == nil && len(threads) > 0 && !slices.ContainsFunc(threads, func(path string) bool {
		stat, err := os.ReadFile(path)
		_, fields, found := bytes.Cut(stat, []byte(") ")) // behind the name
		return err != nil || !found || fields[0] != 'T'
	})
}
