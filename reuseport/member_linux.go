package reuseport

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

func inode(l syscall.Conn) (ino uint32, err error) {
	err = control(l, func(fd int) (err error) {
		ino, err = inodeOf(fd)
		return err
	})
	return ino, err
}

func inodeOf(fd int) (uint32, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return uint32(stat.Ino), nil // get_next_ino counts in 32 bits
}

// group is the key that the members of a group share, beside the network namespace.
type group struct {
	binding
	family uint8
	ifi    uint32
	uid    uint32
}

func listenersOf(ctx context.Context, network, address string) ([]Listener, error) {
	if err := check("tcp", network); err != nil {
		return nil, err
	}
	var asked group
	err := onSocket(ctx, network, address, func(fd int, addr netip.AddrPort) (err error) {
		asked, err = groupOf(fd, addr)
		return err
	})
	if err != nil || asked.port == 0 {
		return nil, err
	}
	sockets, err := dumpSockets(asked.family, 1<<tcpListen, asked.port)
	if err != nil {
		return nil, err
	}
	hidden := asked // a listener that was hidden stays in the group until it is closed
	hidden.ifi = nowhere
	return newListeners(sockets, func(s diagSocket) bool { return s.group() == asked || s.group() == hidden }), nil
}

// groupOf returns the group that a socket would join that is bound to addr and listens.
func groupOf(fd int, addr netip.AddrPort) (group, error) {
	b, err := bindingOf(fd, addr)
	if err != nil {
		return group{}, err
	}
	g := group{binding: b, family: unix.AF_INET, uid: uint32(os.Geteuid())}
	if addr.Addr().Is4() {
		return g, nil
	}
	g.family = unix.AF_INET6
	g.dual = b.dual && b.addr.IsUnspecified() // bind sets IPV6_V6ONLY otherwise (__inet6_bind)
	if addr.Addr().IsLinkLocalUnicast() {     // then bind binds to the interface as well (__inet6_bind)
		g.ifi, err = zoneID(addr.Addr().Zone())
	}
	return g, err
}

func (s diagSocket) group() group {
	return group{binding: s.binding(), family: s.family, ifi: s.ifi, uid: s.uid}
}

// newListeners returns the sockets that match, sorted and each one once: the kernel may show a socket twice when others
// go while it walks over its tables. One without an inode has been closed, and is about to go.
func newListeners(sockets []diagSocket, match func(diagSocket) bool) []Listener {
	var found []Listener
	for _, s := range sockets {
		if s.inode != 0 && match(s) {
			found = append(found, Listener{Inode: s.inode, UID: int(s.uid), Addr: s.local, Queue: int(s.queue)})
		}
	}
	slices.SortFunc(found, func(a, b Listener) int { return cmp.Compare(a.Inode, b.Inode) })
	return slices.Compact(found)
}
