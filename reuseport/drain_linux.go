package reuseport

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// barrierWait stands for a barrier where the kernel has none for us.
	barrierWait = time.Second

	// What is waited for is looked at after 0.5 ms, then at growing intervals.
	firstPoll = 500 * time.Microsecond
	lastPoll  = 10 * time.Millisecond
)

// handshake is the client's and the server's address of a connection that is not established.
type handshake struct {
	local, remote netip.AddrPort
}

func drain(ctx context.Context, l syscall.Conn) (handshakes int, err error) {
	if _, err := queue(l); err != nil { // it listens
		return 0, err
	}
	pending, err := underWay(ctx, l)
	if err != nil {
		return 0, err
	}
	handshakes = len(pending)
	if err := awaitHandshakes(ctx, l, pending); err != nil {
		return handshakes, err
	}
	return handshakes, awaitEmpty(ctx, l)
}

// underWay returns the handshakes of the port of l that have begun. After it, those of l are all among them: a softirq that
// ran the old program has ended, and what it has begun is to be seen.
func underWay(ctx context.Context, l syscall.Conn) (map[handshake]bool, error) {
	if err := barrier(ctx); err != nil {
		return nil, err
	}
	return handshakesOf(l)
}

// awaitHandshakes waits until each handshake has been established or given up. A new one from the same port of the same
// client counts as the old one.
func awaitHandshakes(ctx context.Context, l syscall.Conn, pending map[handshake]bool) error {
	return poll(ctx, func() (bool, error) {
		if len(pending) == 0 {
			return true, nil
		}
		now, err := handshakesOf(l)
		if err != nil {
			return false, err
		}
		for h := range pending {
			if !now[h] {
				delete(pending, h)
			}
		}
		return len(pending) == 0, nil
	}, func() error { return leftError(ctx, l, len(pending)) })
}

func awaitEmpty(ctx context.Context, l syscall.Conn) error {
	return poll(ctx, func() (bool, error) {
		stats, err := queue(l)
		return stats.Length == 0, err
	}, func() error { return leftError(ctx, l, 0) })
}

func leftError(ctx context.Context, l syscall.Conn, handshakes int) error {
	stats, err := queue(l)
	if err != nil {
		return err
	}
	return fmt.Errorf("%d handshakes and %d connections in the queue are left: %w", handshakes, stats.Length, ctx.Err())
}

// handshakesOf returns the handshakes of the port of l. They have the family of their listener: those of a dual-stack
// listener show IPv4 addresses mapped to IPv6 (inet_reqsk_alloc).
func handshakesOf(l syscall.Conn) (map[handshake]bool, error) {
	var family uint8
	var port uint16
	err := control(l, func(fd int) error {
		sa, err := unix.Getsockname(fd)
		if family = unix.AF_INET6; err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		if _, ok := sa.(*unix.SockaddrInet4); ok {
			family = unix.AF_INET
		}
		port = sockaddrPort(sa)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sockets, err := dumpSockets(family, 1<<tcpSynRecv, port)
	if err != nil {
		return nil, err
	}
	found := make(map[handshake]bool, len(sockets))
	for _, s := range sockets {
		found[handshake{s.local, s.remote}] = true
	}
	return found, nil
}

// poll calls done until it returns true or an error, at growing intervals. When ctx ends first, ended tells the error.
func poll(ctx context.Context, done func() (bool, error), ended func() error) error {
	for interval := firstPoll; ; interval = min(2*interval, lastPoll) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ended()
		case <-time.After(interval):
		}
	}
}

func barrier(ctx context.Context) error {
	const global = 1 // MEMBARRIER_CMD_GLOBAL
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(barrierWait):
		return nil
	}
}
