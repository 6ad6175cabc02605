package proc

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/errline"
)

// adopt watches the process by a pidfd, which is readable once the process has ended (pidfd_open(2)).
func adopt(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pid))
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errline.Join(err, file.Close())
	}
	exited := make(chan Exit, 1)
	go func() { // ends with the process
		_ = conn.Read(func(fd uintptr) bool { // fails for a closed file only
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, 0)
			return err == nil && n > 0
		})
		exited <- Exit{Unknown: true}
		_ = file.Close()
	}()
	return &Process{PID: pid, Exited: exited, Signal: func(sig os.Signal) error {
		number, ok := sig.(syscall.Signal)
		if !ok {
			return fmt.Errorf("signal %v: %w", sig, os.ErrInvalid)
		}
		var sigErr error
		err := conn.Control(func(fd uintptr) { sigErr = unix.PidfdSendSignal(int(fd), number, nil, 0) })
		return errline.Join(err, os.NewSyscallError("pidfd_send_signal", sigErr))
	}}, nil
}
