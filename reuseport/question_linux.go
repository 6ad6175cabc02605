package reuseport

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Ports that are tried when each of net.ipv4.ip_local_port_range is in use, for instance in the TIME_WAIT of clients on
// this host: bind takes no port of such a connection, unlike connect.
const (
	firstPort = 1024
	portTries = 1000
)

// expired is a deadline that ends what waits now.
var expired = time.Unix(1, 0)

func newQuestion(ctx context.Context, target *net.TCPAddr) (*Question, error) {
	if target == nil || target.Port == 0 {
		return nil, os.NewSyscallError("connect", unix.EADDRNOTAVAIL)
	}
	var err error
	for _, addr := range askable(target) {
		var q *Question
		if q, err = bindQuestion(ctx, addr); err == nil {
			return q, nil
		}
		if !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			break
		}
	}
	return nil, err
}

// askable returns the addresses under which a listener can be reached from this host.
func askable(target *net.TCPAddr) []netip.AddrPort {
	addr := target.AddrPort()
	port := addr.Port()
	loopback4 := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	switch ip := addr.Addr().Unmap(); {
	case !ip.IsValid() || ip == netip.IPv6Unspecified():
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Loopback(), port), loopback4}
	case ip.IsUnspecified():
		return []netip.AddrPort{loopback4}
	default:
		return []netip.AddrPort{netip.AddrPortFrom(ip, port)}
	}
}

// bindQuestion binds to the address that is asked, which is one of this host.
func bindQuestion(ctx context.Context, target netip.AddrPort) (*Question, error) {
	family := unix.AF_INET6
	if target.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	port, err := bindFree(ctx, fd, target.Addr())
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Question{
		socket: os.NewFile(uintptr(fd), "question"),
		source: netip.AddrPortFrom(target.Addr(), port),
		target: target,
	}, nil
}

func bindFree(ctx context.Context, fd int, addr netip.Addr) (uint16, error) {
	err := bindTo(fd, netip.AddrPortFrom(addr, 0))
	for tries := 0; errors.Is(err, unix.EADDRINUSE) && tries < portTries; tries++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		err = bindTo(fd, netip.AddrPortFrom(addr, uint16(firstPort+rand.IntN(1<<16-firstPort))))
	}
	if err != nil {
		return 0, err
	}
	return localPort(fd)
}

func bindTo(fd int, addr netip.AddrPort) error {
	sa, err := sockaddr(addr)
	if err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

func (q *Question) connect(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sa, err := sockaddr(q.target)
	if err != nil {
		return err
	}
	c, err := q.socket.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = q.socket.SetDeadline(expired) // it fails when the socket has been closed, which ends Connect too
	})
	defer stop()
	started := false
	var connectErr error
	err = c.Write(func(fd uintptr) (done bool) {
		if !started {
			started = true
			connectErr = unix.Connect(int(fd), sa)
			return !errors.Is(connectErr, unix.EINPROGRESS) && !errors.Is(connectErr, unix.EINTR)
		}
		done, connectErr = connected(int(fd))
		return done
	})
	switch {
	case ctx.Err() != nil && (err != nil || connectErr != nil):
		return ctx.Err()
	case err != nil:
		return err
	}
	return os.NewSyscallError("connect", connectErr)
}

// connected tells whether a connect has ended, and how. The descriptor may be said to be writable before that.
func connected(fd int) (bool, error) {
	status, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return true, err
	case status != 0:
		return true, unix.Errno(status)
	}
	_, err = unix.Getpeername(fd)
	return !errors.Is(err, unix.ENOTCONN), err
}

// finish sends a FIN and reads until the other side has sent its own: closing a socket that has something to read sends a
// RST (tcp_close).
func (q *Question) finish(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = q.socket.SetDeadline(expired) }) // it fails when the socket has been closed
	defer stop()
	err := control(q.socket, func(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR)) })
	if err == nil {
		_, _ = io.Copy(io.Discard, q.socket) // however it ends, all is over
	}
	if errors.Is(err, unix.ENOTCONN) {
		err = nil // it was never connected, or is no longer
	}
	return errors.Join(err, q.socket.Close())
}

func (q *Question) arrival() (Arrival, uint32, error) {
	s, ok, err := findSocket(q.target, q.source)
	switch {
	case err != nil:
		return 0, 0, err
	case !ok:
		return ArrivalClosed, 0, nil
	case s.state == tcpSynRecv || s.state == tcpNewSynRecv:
		return ArrivalPending, 0, nil
	case s.inode != 0:
		return ArrivalAccepted, s.inode, nil
	case s.state == tcpEstablished:
		return ArrivalQueued, 0, nil
	default:
		return ArrivalClosed, 0, nil
	}
}

func (q *Question) close() error {
	return errors.Join(resetAtClose(q.socket), q.socket.Close())
}

// resetAtClose makes close send a RST (tcp_close).
func resetAtClose(socket *os.File) error {
	return control(socket, func(fd int) error {
		return os.NewSyscallError("setsockopt",
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	})
}
