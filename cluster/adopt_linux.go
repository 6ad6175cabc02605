package cluster

import (
	"bytes"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const sigContinue = syscall.SIGCONT

// adoptProcess watches a process that is not our child by a pidfd, which is readable once it has ended (pidfd_open(2)).
// Its exit status is its parent's to know.
func adoptProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pid))
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, join(err, file.Close())
	}
	exited := make(chan exit, 1)
	go func() { // ends with the process
		_ = conn.Read(func(fd uintptr) bool { // fails for a closed file only
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, 0)
			return err == nil && n > 0
		})
		exited <- exit{unknown: true}
		_ = file.Close()
	}()
	return &process{pid: pid, exited: exited, signal: func(sig os.Signal) error {
		number, ok := sig.(syscall.Signal)
		if !ok {
			return fmt.Errorf("signal %v: %w", sig, os.ErrInvalid)
		}
		var sigErr error
		err := conn.Control(func(fd uintptr) { sigErr = unix.PidfdSendSignal(int(fd), number, nil, 0) })
		return join(err, os.NewSyscallError("pidfd_send_signal", sigErr))
	}}, nil
}

// isWorkerProcess tells whether a process was started as a worker: /proc shows the environment with which it was, also
// what it has unset since.
func isWorkerProcess(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && (bytes.HasPrefix(environ, []byte(roleVariable+"=")) || bytes.Contains(environ, []byte("\x00"+roleVariable+"=")))
}
