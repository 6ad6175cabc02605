//go:build unix

package descriptors

import (
	"math"
	"os"
	"syscall"
)

// limit returns how many descriptors this process may have open.
func limit() (n int, ok bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return int(min(uint64(r.Cur), math.MaxInt32)), true //nolint:unconvert // FreeBSD has an int64
}

// count returns how many are open. Where /dev/fd does not tell, they are as few as a program of Go has.
func count() int {
	const few = 5
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return few
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return few
	}
	return max(few, len(names)-1) // without dir
}
