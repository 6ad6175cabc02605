package reuseport

import (
	"context"
	"fmt"
	"net/netip"
)

// Owner is a process that holds a socket on a port, or a socket whose process the kernel does not tell.
type Owner struct {
	Addr      netip.AddrPort // what the socket is bound to
	Listening bool           // it listens; otherwise it is bound only, as that of a Reservation is
	UID       int            // the user who made the socket
	PID       int            // 0 where the kernel does not tell
	Program   string         // the name of that process, up to 15 bytes; may be empty
	Inode     uint32         // identifies the socket in this network namespace; the same in /proc/PID/fd
}

// String names the process for a message, as in "nginx (pid 1234)".
func (o Owner) String() string {
	switch {
	case o.PID == 0:
		return fmt.Sprintf("a process of uid %d (the kernel does not tell us which)", o.UID)
	case o.Program == "":
		return fmt.Sprintf("pid %d", o.PID)
	}
	return fmt.Sprintf("%s (pid %d)", o.Program, o.PID)
}

// Owners returns who holds a TCP port: the sockets that listen on it or, since Linux 6.8, are bound to it without
// listening, and whose address overlaps the given one, so that a plain bind would fail. There is one Owner for each
// process that has a socket, sorted by address, inode and PID; this process is included.
//
// Network and address mean what they do to [net.Listen]. Every socket of the network namespace is seen without
// privilege, but only root sees the PIDs of other users. The answer is a snapshot, and processes that come and go
// meanwhile may be missing from it. ctx ends the resolution of the address and the search in /proc.
//
// It needs Linux with sock_diag; elsewhere the error Is errors.ErrUnsupported.
func Owners(ctx context.Context, network, address string) ([]Owner, error) {
	found, err := ownersOf(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("reuseport: owners of %s %s: %w", network, address, err)
	}
	return found, nil
}

// Holders returns the processes that have a socket open, by its inode, as far as we may look: see [Owners]. Their Addr, UID
// and Listening are not filled in. None is no error. ctx ends the search in /proc. It needs Linux; elsewhere the error Is
// errors.ErrUnsupported.
func Holders(ctx context.Context, inode uint32) ([]Owner, error) {
	found, err := holders(ctx, inode)
	if err != nil {
		return nil, fmt.Errorf("reuseport: holders of socket %d: %w", inode, err)
	}
	return found, nil
}

// Visitor returns a process that has a listener in the group which a listener opened by [Listen] would join, and for which
// skip is false. It looks at one process after the other, and at the kernel's list after each, so that it also finds a
// process that comes and goes, with the probability that it is there. If there is none, ok is false.
//
// ctx ends the search in /proc. It needs Linux with sock_diag; elsewhere the error Is errors.ErrUnsupported.
func Visitor(ctx context.Context, network, address string, skip func(pid int) bool) (found Owner, ok bool, err error) {
	found, ok, err = visitor(ctx, network, address, skip)
	if err != nil {
		return Owner{}, false, fmt.Errorf("reuseport: visitors of %s %s: %w", network, address, err)
	}
	return found, ok, nil
}
