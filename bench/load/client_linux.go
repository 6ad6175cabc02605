package load

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// client sends requests: on one connection, each when it has its answer to the last, or each on a new connection.
type client struct {
	arrivals *arrivals // nil: a closed loop
	lot      lot
	target   target
	due      time.Duration // when its next request has to be sent
	ready    time.Duration // when it can be sent; only from then on the generator is late
	conn     *conn         // with keep-alive; nil: none
}

// queue is a heap of clients, by when they are ready.
type queue []*client

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].ready < q[j].ready }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(c any)        { *q = append(*q, c.(*client)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}

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
