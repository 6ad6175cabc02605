package ways

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

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
func listenRaw(addr string) (fd int, bound net.Addr, err error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var optErr error
		err := c.Control(func(fd uintptr) { optErr = setOptions(int(fd)) })
		return errors.Join(err, optErr)
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return 0, nil, err
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn() // it is one, for "tcp"
	if err != nil {
		return 0, nil, err
	}
	var dupErr error
	err = raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, l.Addr(), errors.Join(err, os.NewSyscallError("fcntl", dupErr))
}

func setOptions(fd int) (err error) {
	for _, o := range []struct{ level, name, value int }{
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
