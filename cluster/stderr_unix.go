//go:build unix

package cluster

import "syscall"

// holdStderr keeps fd from processes that the program starts before proc.RestoreStderr.
func holdStderr(fd uintptr) {
	if fd != 0 {
		syscall.CloseOnExec(int(fd))
	}
}
