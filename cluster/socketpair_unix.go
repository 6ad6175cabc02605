//go:build unix

package cluster

import (
	"net"
	"os"
	"syscall"
)

// socketPair returns two ends of a Unix socket: ours, and one for a child process.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	own := os.NewFile(uintptr(fds[0]), "successor")
	theirs = os.NewFile(uintptr(fds[1]), "predecessor")
	ours, err = net.FileConn(own)
	if err = join(err, own.Close()); err != nil {
		return nil, nil, join(err, theirs.Close())
	}
	return ours, theirs, nil
}
