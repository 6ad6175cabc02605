package serve

import (
	"net"
	"net/netip"
)

// queues is a listener with the queues of other nodes beside its own.
type queues interface {
	// AcceptFrom is Accept, and returns the inode of the listener in whose queue the connection was, 0 if that is the own one.
	AcceptFrom() (conn *net.TCPConn, inode uint32, err error)
}

// origins remembers the listeners in whose queues the last connections were that were accepted from the queues of other nodes.
type origins struct {
	last  [256]origin
	count int // of all
}

type origin struct {
	source netip.AddrPort
	inode  uint32 // of the listener
}

func (o *origins) note(source netip.AddrPort, inode uint32) {
	o.last[o.count%len(o.last)] = origin{source, inode}
	o.count++
}

func (o *origins) find(source netip.AddrPort) (inode uint32, ok bool) {
	for _, one := range o.last {
		if one.source == source {
			return one.inode, true
		}
	}
	return 0, false
}
