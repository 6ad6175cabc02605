package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
)

// Borrowed is a descriptor of our own for a listening socket of another process. While it is open, the socket stays open
// and in its group even if that process closes it or dies, and then no process accepts its connections. So close it
// right after use.
type Borrowed struct {
	socket *os.File
}

// Borrow duplicates the listening socket with an inode that a process holds, so that [Attach], [Queue], [Drain] and
// [SetIncomingCPU] work on the socket of a program that knows nothing of them. The inode is that of [Listeners] or
// [ListeningOf].
//
// It needs permission to trace the process (PTRACE_MODE_ATTACH_REALCREDS, see ptrace(2) and pidfd_getfd(2)): the same
// uid and, where kernel.yama.ptrace_scope is 1, that it is our descendant; or CAP_SYS_PTRACE.
//
// Errors: Is os.ErrNotExist where the process or its socket is gone, os.ErrPermission where it may not be traced. It needs
// Linux 5.6; elsewhere the error Is errors.ErrUnsupported.
func Borrow(pid int, inode uint32) (*Borrowed, error) {
	b, err := borrow(pid, inode)
	if err != nil {
		return nil, fmt.Errorf("reuseport: borrow socket %d of pid %d: %w", inode, pid, err)
	}
	return b, nil
}

// SyscallConn makes the socket usable for Attach, Queue and the like.
func (b *Borrowed) SyscallConn() (syscall.RawConn, error) { return b.socket.SyscallConn() }

// Close gives the descriptor back; the socket stays with its process. Close may be called again, and then returns nil.
func (b *Borrowed) Close() error {
	if err := b.socket.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("reuseport: %w", err)
	}
	return nil
}

// ErrNoHolder is the error of [Holder] when a connection has been accepted by none of the processes.
var ErrNoHolder = errors.New("none of the processes has accepted the connection")

// Holder waits until the connection from source to local has been accepted, and returns the process that holds it, the
// first one of pids if it is shared. So it finds the process that has answered a [Question], without its help. local is the
// address of the connection, as Question.Target; a wildcard address in it stands for that of source.
//
// It asks sock_diag(7) for the inode of the accepting side's socket, which it has from accept(2) on, and looks for it in
// /proc/PID/fd, which is readable for our own uid and for root. A connection that its process closes at once may not be
// seen.
//
// Errors: Is ErrNoHolder when another process has accepted; Is ctx.Err() when ctx ends before that. It needs Linux with
// sock_diag; elsewhere the error Is errors.ErrUnsupported.
func Holder(ctx context.Context, local, source netip.AddrPort, pids []int) (pid int, err error) {
	pid, err = holder(ctx, local, source, pids)
	if err != nil {
		return 0, fmt.Errorf("reuseport: holder of the connection from %s to %s: %w", source, local, err)
	}
	return pid, nil
}

// ListeningOf returns the TCP listeners that processes hold, in this network namespace, by PID and sorted by inode. A
// process without any, or that we may not look into, is not in it. A listener that several processes have inherited is
// with each of them. ctx ends the search in /proc. It needs Linux with sock_diag; elsewhere the error Is
// errors.ErrUnsupported.
func ListeningOf(ctx context.Context, pids []int) (map[int][]Listener, error) {
	found, err := listeningOf(ctx, pids)
	if err != nil {
		return nil, fmt.Errorf("reuseport: listeners of processes: %w", err)
	}
	return found, nil
}
