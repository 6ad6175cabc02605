package ways

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// keepAlive is how Go's net has it: seconds, seconds, and a count.
const (
	keepAliveIdle     = 15
	keepAliveInterval = 15
	keepAliveCount    = 9
)

// listenRaw returns a listener that nothing of Go's net knows of. What is accepted from it has the options of Go's
// net: the kernel copies them from the listener, so that they take no system calls for each connection.
func listenRaw(addr string) (fd int, bound netip.AddrPort, err error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, bound, fmt.Errorf("listen tcp %s: %w", addr, err)
	}
	family, name := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	if at.Addr().Is4() {
		family, name = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, bound, os.NewSyscallError("socket", err)
	}
	err = setOptions(fd)
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, name))
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, maxBacklog)) // the kernel takes at most net.core.somaxconn
	}
	if err != nil {
		return 0, bound, errors.Join(fmt.Errorf("listen tcp %s: %w", addr, err), unix.Close(fd))
	}
	bound, err = localAddr(fd)
	return fd, bound, err
}

func setOptions(fd int) (err error) {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
	} {
		err = errors.Join(err, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, o.level, o.name, o.value)))
	}
	return err
}

func localAddr(fd int) (netip.AddrPort, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	if name4, ok := name.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(name4.Addr), uint16(name4.Port)), nil
	}
	name6, ok := name.(*unix.SockaddrInet6)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("getsockname: a %T", name)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name6.Addr), uint16(name6.Port)), nil
}

// wireAddr is a client's address in a message: 16 bytes of the address, an IPv4 one within IPv6, and 2 of the port.
type wireAddr [18]byte

// clientAddr reads a struct sockaddr of the kernel.
func clientAddr(name []byte) (a wireAddr) {
	copy(a[16:], name[2:4])
	if binary.NativeEndian.Uint16(name) == unix.AF_INET {
		a[10], a[11] = 0xff, 0xff
		copy(a[12:16], name[4:8])
		return a
	}
	copy(a[:16], name[8:24])
	return a
}

func (a wireAddr) tcp() *net.TCPAddr {
	ip := netip.AddrFrom16([16]byte(a[:16])).Unmap()
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, binary.BigEndian.Uint16(a[16:])))
}
