package load

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// target is an address of the server.
type target struct {
	family  int
	address unix.Sockaddr
}

func targetOf(addr *net.TCPAddr) target {
	if ip := addr.IP.To4(); ip != nil {
		return target{unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}}
	}
	return target{unix.AF_INET6, &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP)}}
}

// localAddr returns the address of a connection's own end, the zero value if there is none.
func localAddr(fd int) netip.AddrPort {
	name, _ := unix.Getsockname(fd)
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
	default:
		return netip.AddrPort{}
	}
}
