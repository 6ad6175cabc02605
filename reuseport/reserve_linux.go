package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func reserve(ctx context.Context, network, address string) (*Reservation, error) {
	var r *Reservation
	err := onSocket(ctx, network, address, func(fd int, addr netip.AddrPort) (err error) {
		r, err = claim(fd, addr)
		return err
	})
	return r, err
}

// claim binds the socket and returns a Reservation that holds a duplicate of it.
//
// SO_REUSEPORT is set only when the port is ours alone. From then on our uid can join, since inet_bind_conflict looks
// at the flags that the owners of a port have now, not at those they were bound with.
func claim(fd int, addr netip.AddrPort) (*Reservation, error) {
	sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	if err := bindAlone(fd, sa); err != nil {
		return nil, err
	}
	if err := setOption(fd, unix.SO_REUSEPORT, 1); err != nil {
		return nil, err
	}
	return hold(fd, addr.Addr())
}

// hold returns a Reservation with a duplicate of a socket that is bound.
func hold(fd int, addr netip.Addr) (*Reservation, error) {
	port, err := localPort(fd)
	if err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &Reservation{
		socket: os.NewFile(uintptr(dup), "reserved port"),
		addr:   net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port)),
	}, nil
}

func rejoin(ctx context.Context, network, address string) (*Reservation, error) {
	var r *Reservation
	err := onSocket(ctx, network, address, func(fd int, addr netip.AddrPort) (err error) {
		r, err = bindBeside(fd, addr)
		return err
	})
	return r, err
}

// bindBeside binds the socket if all others on the port share it with us, and leaves it without SO_REUSEADDR, so that
// no socket that does not share it can bind after it.
func bindBeside(fd int, addr netip.AddrPort) (*Reservation, error) {
	if addr.Port() == 0 {
		return nil, fmt.Errorf("no port is given: %w", unix.EINVAL)
	}
	sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	if err := setOption(fd, unix.SO_REUSEPORT, 1); err != nil {
		return nil, err
	}
	// net has set SO_REUSEADDR, which leads past what a server has left behind that did not share the port. It leads
	// past a socket that is bound only, too; its owner cannot listen from now on.
	if err := unix.Bind(fd, sa); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if err := setOption(fd, unix.SO_REUSEADDR, 0); err != nil {
		return nil, err
	}
	return hold(fd, addr.Addr())
}

// bindAlone binds the socket if no other is bound, and leaves it without SO_REUSEADDR, so that none can bind after it
// either.
func bindAlone(fd int, sa unix.Sockaddr) error {
	if err := setOption(fd, unix.SO_REUSEADDR, 0); err != nil { // net has set it
		return err
	}
	err := os.NewSyscallError("bind", unix.Bind(fd, sa))
	// Port 0 in use means that no port is free. The kernel would give away again a port that bindOverLeftovers chose.
	if !errors.Is(err, unix.EADDRINUSE) || sockaddrPort(sa) == 0 {
		return err
	}
	return bindOverLeftovers(fd, sa)
}

// bindOverLeftovers is bindAlone where connections of an earlier server are still there, for instance in TIME_WAIT.
// They hold the port unless both sides have SO_REUSEADDR. But several sockets that have it can be bound, as long as none
// listens, and each would seem to be alone.
//
// So the claim is decided by listen, which does the check again for a socket in the state LISTEN (inet_csk_listen_start)
// and lets one succeed. SO_REUSEADDR must be cleared before that state is left, and shutdown leaves it; that
// keeps the port, since its number was given explicitly (SOCK_BINDPORT_LOCK). A client that connects between the two,
// while no server has the port, is reset instead of refused.
func bindOverLeftovers(fd int, sa unix.Sockaddr) error {
	if err := setOption(fd, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		return os.NewSyscallError("listen", err)
	}
	if err := setOption(fd, unix.SO_REUSEADDR, 0); err != nil {
		return err
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RD))
}

func setOption(fd, option, value int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, value))
}

func localPort(fd int) (uint16, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return sockaddrPort(sa), nil
}

func sockaddrPort(sa unix.Sockaddr) uint16 {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port)
	case *unix.SockaddrInet6:
		return uint16(sa.Port)
	}
	return 0
}

func sockaddr(addr netip.AddrPort) (unix.Sockaddr, error) {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, nil
	}
	zone, err := zoneID(addr.Addr().Zone())
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zone}, nil
}

// zoneID returns the index of the interface that an IPv6 zone names, by its name or its number.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index), nil
	}
	id, err := strconv.ParseUint(zone, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("unknown IPv6 zone %q", zone)
	}
	return uint32(id), nil
}
