package reuseport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// errUsed ends a net.ListenConfig.Listen whose socket onSocket has made use of.
var errUsed = errors.New("the socket has been used")

// onSocket calls use with the socket that net would open to listen on address, before it is bound, and with the
// address that net would bind it to. So resolution and the choice between IPv4, IPv6 and both are net's own. The
// socket is closed when use has returned; it is never bound or listening unless use has done that.
func onSocket(ctx context.Context, network, address string, use func(fd int, addr netip.AddrPort) error) error {
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		addr, err := bindAddr(network, address)
		if err != nil {
			return err
		}
		if err := c.Control(func(fd uintptr) { err = use(int(fd), addr) }); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		return errUsed
	}}
	lc.SetMultipathTCP(false) // or Control would be called again with a TCP socket after an error
	if _, err := lc.Listen(ctx, network, address); !errors.Is(err, errUsed) {
		return err
	}
	return nil
}

// bindAddr returns the address that net binds to, given the arguments of Control. Those may be ":80" or "0.0.0.0:80"
// for an IPv6 socket, where net binds to [::] (ipToSockaddrInet6).
func bindAddr(network, address string) (netip.AddrPort, error) {
	if strings.HasPrefix(address, ":") {
		address = "0.0.0.0" + address
	}
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if network == "tcp6" && addr.Addr() == netip.IPv4Unspecified() {
		addr = netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())
	}
	return addr, nil
}
