//go:build linux || freebsd

package reuseport

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// probe sets the option that balances on a socket. A socket that cannot be opened (too many open files) says nothing
// about the option, and since the answer is kept, it is yes: Listen will report what is wrong then.
func probe() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, balanceOption, 1); err != nil {
		return errUnsupported(fmt.Sprintf("this kernel does not balance a port between sockets (setsockopt %s: %v)", balanceName, err))
	}
	return nil
}
