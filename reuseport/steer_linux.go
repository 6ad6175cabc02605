package reuseport

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func attach(l syscall.Conn, s Steering) error {
	program, err := bpf.Assemble(s.program())
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, ins := range program {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return control(l, func(fd int) error { return attachFilter(fd, filter) })
}

func attachFilter(fd int, filter []unix.SockFilter) error {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case listening == 0:
		// reuseport_attach_prog makes a group for it.
		return fmt.Errorf("a socket that does not listen is in no group: %w", unix.EINVAL)
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err = os.NewSyscallError("setsockopt",
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &fprog))
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel steers no Multipath TCP listener, which net.Listen opens (use reuseport.Listen): %w", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the listener does not share its port (SO_REUSEPORT): %w", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("no memory for a program of %d instructions (sysctl -w net.core.optmem_max=131072): %w", len(filter), err)
	}
	return err
}
