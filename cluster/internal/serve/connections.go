package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// The time between two looks at the open connections: it grows from the first to the last, and a look takes at most a
// twentieth of it.
const (
	firstClosedInterval = time.Millisecond
	lastClosedInterval  = 50 * time.Millisecond
	closedIntervalRatio = 20
)

// AwaitClosed waits until this process has closed all connections that it has accepted from a port with one of the addresses,
// with or without an [Acceptor]. If ctx is done before, the error Is ctx.Err() and says how many are left. Only Linux shows which
// connections are open; elsewhere AwaitClosed does not wait.
//
// It looks at the process's descriptors, and only when it is called: connections cost nothing before, and Accept returns them as
// *net.TCPConns.
func AwaitClosed(ctx context.Context, addrs []net.Addr) error {
	var ports []netip.AddrPort
	for _, addr := range addrs {
		if tcp, ok := addr.(*net.TCPAddr); ok && tcp.Port != 0 {
			ports = append(ports, plain(tcp.AddrPort()))
		}
	}
	if len(ports) == 0 {
		return nil
	}
	for interval := firstClosedInterval; ; interval = min(2*interval, lastClosedInterval) {
		begin := time.Now()
		open, err := openConnections(ports)
		if err == nil && open == 0 || errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		select {
		case <-time.After(max(interval, closedIntervalRatio*time.Since(begin))):
			continue
		case <-ctx.Done():
		}
		if err != nil { // a process may have no descriptor left to look with, for a while
			return fmt.Errorf("which connections to %v are open is not known (%w): %w", addrs, err, ctx.Err())
		}
		return fmt.Errorf("%d connections to %v were still open: %w", open, addrs, ctx.Err())
	}
}

// isAccepted reports whether a connection with that local address was accepted from a port.
func isAccepted(local netip.AddrPort, ports []netip.AddrPort) bool {
	local = plain(local)
	for _, port := range ports {
		if local.Port() == port.Port() && (local.Addr() == port.Addr() || port.Addr().IsUnspecified()) {
			return true
		}
	}
	return false
}
