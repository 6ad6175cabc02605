package load

import (
	"net"

	"golang.org/x/sys/unix"
)

func sockaddr(addr *net.TCPAddr) (family int, target unix.Sockaddr) {
	if ip := addr.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP)}
}
