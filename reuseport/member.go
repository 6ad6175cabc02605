package reuseport

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// Listener is a listening socket of any process.
type Listener struct {
	Inode uint32         // identifies the socket in this network namespace; see Inode
	UID   int            // the user who made the socket
	Addr  netip.AddrPort // what it is bound to, without a zone
	Queue int            // connections in its accept queue
}

// Inode returns the number that identifies a socket in its network namespace, as sock_diag(7), /proc/net/tcp and
// /proc/PID/fd show it. It is used again after the last descriptor of the socket has been closed. It costs one system
// call. It needs Linux; elsewhere the error Is errors.ErrUnsupported.
func Inode(l syscall.Conn) (uint32, error) {
	ino, err := inode(l)
	if err != nil {
		return 0, fmt.Errorf("reuseport: inode: %w", err)
	}
	return ino, nil
}

// Listeners returns the members of the group that a listener opened by [Listen] would join, of any process, sorted by
// inode, which is not their order in the group: the listeners of the same family, IPV6_V6ONLY, address, port and interface
// that our effective uid has made (inet_reuseport_add_sock), also hidden ones (see [Hide]) until they are closed. The kernel
// does not tell whether a socket sets SO_REUSEPORT, so a server of our uid that does not, and has the port alone, is
// returned too.
//
// Network and address mean what they do to [net.Listen]; port 0 has no members. ctx ends the resolution of the address.
// Listeners asks sock_diag(7), without privilege and without a search in /proc, and costs some 50 us. The answer is a
// snapshot.
//
// Sockets of another group that overlap are not returned, such as a foreign socket on 0.0.0.0:80 beside ours on [::]:80,
// which gets our IPv4 connections: [Owners] returns them.
//
// It needs Linux with sock_diag; elsewhere the error Is errors.ErrUnsupported.
func Listeners(ctx context.Context, network, address string) ([]Listener, error) {
	found, err := listenersOf(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("reuseport: listeners of %s %s: %w", network, address, err)
	}
	return found, nil
}
