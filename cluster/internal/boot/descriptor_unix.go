//go:build unix

package boot

import "syscall"

// closeOnExec keeps a descriptor from processes that the program starts. 0 is no descriptor.
func closeOnExec(fd uintptr) {
	if fd != 0 {
		syscall.CloseOnExec(int(fd))
	}
}
