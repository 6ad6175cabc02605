package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// Reservation holds a TCP port for one group of listeners with a socket that is bound and does not listen. It receives
// nothing. While it is held, only sockets of our uid that set SO_REUSEPORT can bind the port, which is what [Listen]
// does, in this process or in another.
//
// Its owner closes it; the garbage collector closes a forgotten one. A child process does not inherit it.
type Reservation struct {
	socket *os.File
	addr   *net.TCPAddr
}

// Reserve claims a free port. The claim is atomic: of several claims at the same time, in any processes, one succeeds; then
// no other socket listens on the port, and none outside the group can from then on.
// Connections that an earlier server has left behind (TIME_WAIT, or still open) do not count, if that server had set
// SO_REUSEADDR, as Go's do. Members of a group count: see [Rejoin].
//
// The network is "tcp", "tcp4" or "tcp6"; network and address mean what they do to [net.Listen], and ctx ends the
// resolution of the address. With port 0 the kernel chooses a free port, which Addr returns.
//
// Errors are those of [Listen]. If it Is syscall.EADDRINUSE, [Owners] returns the holders. Reserve needs Linux.
func Reserve(ctx context.Context, network, address string) (*Reservation, error) {
	if err := check("tcp", network); err != nil {
		return nil, listenError(network, err)
	}
	r, err := reserve(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("reuseport: %w", err)
	}
	return r, nil
}

// Rejoin holds a port beside the present members of its group, for a process that takes over from a dead holder of a
// Reservation. Unlike [Reserve] it does not show that the port is ours alone: other processes of our uid that set
// SO_REUSEPORT may listen on it, so compare [Listeners] with the members that should be there. It succeeds on a free port
// too.
//
// Network, address and ctx mean what they do to Reserve; the port must be given. The error Is syscall.EADDRINUSE if
// another process holds the port and does not share it with us. Rejoin needs Linux.
func Rejoin(ctx context.Context, network, address string) (*Reservation, error) {
	if err := check("tcp", network); err != nil {
		return nil, listenError(network, err)
	}
	r, err := rejoin(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("reuseport: %w", err)
	}
	return r, nil
}

// Addr returns the address that is held. The caller must not change it.
func (r *Reservation) Addr() *net.TCPAddr { return r.addr }

// Close gives the port up. Listeners that share it stay, and hold it from then on. Close may be called again, and then
// returns nil.
func (r *Reservation) Close() error {
	if err := r.socket.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("reuseport: %w", err)
	}
	return nil
}
