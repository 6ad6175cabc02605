package reuseport

import (
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// nowhere is the index of an interface that does not exist.
const nowhere = math.MaxInt32

func hide(l syscall.Conn) error {
	return control(l, func(fd int) error {
		return os.NewSyscallError("setsockopt",
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, nowhere))
	})
}
