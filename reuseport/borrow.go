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
	socket *file
	bell   *file // an eventfd that wakes one of the processes that watch; nil: there is none
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
	err := b.socket.Close()
	if b.bell != nil {
		err = errors.Join(err, b.bell.Close())
	}
	if err != nil && !errors.Is(err, os.ErrClosed) {
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

// Addr returns the address that the socket listens on, as net.Addr.String of its listener; "" after Close.
func (b *Borrowed) Addr() string { return localAddr(b) }

// Listens reports whether the socket listens: its process has not closed it.
func (b *Borrowed) Listens() bool { return listens(b) }

// Shutdown takes the socket out of its group, whichever processes hold descriptors for it: it listens no more. What waits in its
// queue is reset, unless net.ipv4.tcp_migrate_req is set; [Drain] empties it first.
func (b *Borrowed) Shutdown() error {
	if err := shutdown(b); err != nil {
		return fmt.Errorf("reuseport: shut down a listener: %w", err)
	}
	return nil
}

// Ring wakes one of the processes that watch the queue, to look whether a connection waits. It does nothing for a listener
// that was not lent by [MultiListener.Lend].
func (b *Borrowed) Ring() error {
	if b.bell == nil {
		return nil
	}
	if err := ring(b.bell); err != nil {
		return fmt.Errorf("reuseport: wake a process that watches a queue: %w", err)
	}
	return nil
}

// Clone returns another descriptor for the same socket.
func (b *Borrowed) Clone() (*Borrowed, error) {
	clone, err := lend(b, b.bell)
	if err != nil {
		return nil, fmt.Errorf("reuseport: duplicate a listener: %w", err)
	}
	return clone, nil
}

// Send passes a duplicate to the process at the other end of a Unix stream socket, with a byte that says what for, by SCM_RIGHTS
// (unix(7)). It does not close b. [Receive] is the other end. It blocks as a Write does, and obeys the write deadline.
func Send(c syscall.Conn, b *Borrowed, with byte) error {
	if err := send(c, b, with); err != nil {
		return fmt.Errorf("reuseport: send a listener: %w", err)
	}
	return nil
}

// Receive receives what [Send] has sent, and its byte. It blocks as a Read does, and obeys the read deadline. A message without a
// listening TCP socket of our uid is an error that Is syscall.EINVAL, and what came with it is closed; the end of the stream is
// io.EOF. The descriptor is not passed on to programs that this process starts (MSG_CMSG_CLOEXEC).
//
// What is sent before the other end is in Receive may lose its descriptor to another read of the socket.
func Receive(c syscall.Conn) (b *Borrowed, with byte, err error) {
	b, with, err = receive(c)
	if err != nil {
		return nil, 0, fmt.Errorf("reuseport: receive a listener: %w", err)
	}
	return b, with, nil
}
