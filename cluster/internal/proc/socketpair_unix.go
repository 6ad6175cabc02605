//go:build unix

package proc

import (
	"net"
	"os"
	"syscall"

	"github.com/multinode-go/multinode/internal/errline"
)

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
	own := os.NewFile(uintptr(fds[0]), "child")
	theirs = os.NewFile(uintptr(fds[1]), "parent")
	ours, err = net.FileConn(own)
	if err = errline.Join(err, own.Close()); err != nil {
		return nil, nil, errline.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}
