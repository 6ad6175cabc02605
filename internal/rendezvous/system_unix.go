//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package rendezvous

import (
	"io/fs"
	"os"
	"syscall"
)

// supported reports whether this system has flock(2).
const supported = true

// maxSocketPath is the longest path that fits into a socket's address, which ends with a zero byte.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// How a file is locked.
const (
	shared    = syscall.LOCK_SH
	exclusive = syscall.LOCK_EX
)

// flock takes the lock of file, without waiting. It returns false when another open file holds it: another process, a
// child of a process between fork and exec, or a second open of our own. Closing file releases it.
func flock(file *os.File, how int) (bool, error) {
	err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, os.NewSyscallError("flock", err)
}

// rmdir removes an empty directory, and nothing else: os.Remove would remove a file, too.
func rmdir(path string) error {
	if err := syscall.Rmdir(path); err != nil {
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

// owner returns the uid of a file's owner.
func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
