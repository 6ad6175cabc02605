//go:build unix

package proc

import (
	"os"
	"syscall"
)

func restoreStderr(fd uintptr) error {
	if fd == 0 {
		return nil
	}
	if err := dup2(int(fd), 2); err != nil {
		return os.NewSyscallError("dup2", err)
	}
	return os.NewSyscallError("close", syscall.Close(int(fd)))
}
