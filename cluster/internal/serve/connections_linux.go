package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openConnections returns how many open TCP connections of this process were accepted from the ports. It counts descriptors, so
// connections of other processes and those that only the kernel still has do not count. A connection that the peer has reset does
// not count either: it has no peer address (inet_getname), and nothing can be lost on it.
//
// A connection that is open under two descriptors counts twice.
func openConnections(ports []netip.AddrPort) (open int, err error) {
	dir, err := os.Open("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("/proc is not mounted: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			return 0, err
		}
		// The descriptor may be closed, and be another one, at any moment: the calls only look.
		if local, ok := localTCP(fd); ok && isAccepted(local, ports) {
			if _, err := unix.Getpeername(fd); err == nil {
				open++
			}
		}
	}
	return open, nil
}

// localTCP returns the local address of a TCP socket, and false for all else.
func localTCP(fd int) (netip.AddrPort, bool) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, false
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return netip.AddrPort{}, false
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port)), true
	default:
		return netip.AddrPort{}, false
	}
}
