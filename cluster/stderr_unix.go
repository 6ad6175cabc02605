//go:build unix

package cluster

import (
	"os"
	"syscall"
)

// restoreStderr makes descriptor 2 what fd is, and closes fd. 0 is no descriptor: there is nothing to do.
func restoreStderr(fd uintptr) error {
	if fd == 0 {
		return nil
	}
	if err := dup2(int(fd), 2); err != nil {
		return os.NewSyscallError("dup2", err)
	}
	return os.NewSyscallError("close", syscall.Close(int(fd)))
}

// holdStderr keeps fd from processes that the program starts before restoreStderr.
func holdStderr(fd uintptr) {
	if fd != 0 {
		syscall.CloseOnExec(int(fd))
	}
}
