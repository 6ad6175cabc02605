package reuseport

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// DrainStats tells what [Drain] has done.
type DrainStats struct {
	Took       time.Duration
	Handshakes int // of the whole port, which were under way and had to be waited for
}

// Drain waits until the accept queue of l is empty and stays empty, so that closing l loses no connection. It does not
// close l.
//
// Before it, steer the group away from l: [Attach] with weight 0 for it has returned. While it waits, other goroutines must
// accept from l. Until l is closed, no member may leave the group in a way that lets the kernel's hash decide (see
// Attach), nor, with net.ipv4.tcp_migrate_req=1, close a listener whose queue is not empty: its connections move to any
// member, also one of weight 0 (reuseport_migrate_sock). After a failure of either kind drain again.
//
// It is exact because of two facts. The program runs and the request is made in one RCU read section (tcp_v4_rcv), so
// after [Barrier] no SYN is under way to l. A handshake stays with its listener, and is visible to sock_diag(7) until
// its connection is in the queue: the kernel puts it there (inet_csk_complete_hashdance) before it changes the state in
// which it is a handshake (tcp_rcv_state_process). So Drain waits for the handshakes under way after the barrier, not for
// newer ones, which belong to other members, and a queue that is empty then stays empty. The kernel does not tell to which
// member a handshake belongs, so Drain waits for all handshakes of the port: some 10 ms on a quiet host, and a round trip to
// the slowest client. A client that does not answer, as in a SYN flood, holds its handshake for more than a minute
// (net.ipv4.tcp_synack_retries): give ctx a bound.
//
// When ctx ends first, the error Is ctx.Err() and names how many handshakes and connections are left. When l is closed,
// it Is net.ErrClosed, and syscall.EINVAL when it does not listen. Several listeners may be drained at the same time.
// It needs Linux with sock_diag; elsewhere the error Is errors.ErrUnsupported.
func Drain(ctx context.Context, l syscall.Conn) (DrainStats, error) {
	start := time.Now()
	handshakes, err := drain(ctx, l)
	stats := DrainStats{Took: time.Since(start), Handshakes: handshakes}
	if err != nil {
		return stats, fmt.Errorf("reuseport: drain: %w", err)
	}
	return stats, nil
}

// Barrier waits until each softirq and RCU read section that began before the call has ended: after [Attach] and
// Barrier no connection is steered by the old program. It is membarrier(2) with MEMBARRIER_CMD_GLOBAL, a
// synchronize_rcu, and takes some 10 ms. Where the kernel refuses (with nohz_full, or by seccomp), it waits for 1 s,
// which is more than any softirq takes. It needs Linux; elsewhere the error Is errors.ErrUnsupported.
func Barrier() error {
	if err := barrier(context.Background()); err != nil {
		return fmt.Errorf("reuseport: barrier: %w", err)
	}
	return nil
}
