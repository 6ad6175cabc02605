// Package reuseport shares one port between processes: each opens a listener of its own on the same address, and the
// kernel spreads the connections over them. No connection is passed from one process to another.
//
//	r, err := reuseport.Reserve(ctx, "tcp", ":8080") // once: the port is ours, or the error says that it is taken
//	...
//	l, err := reuseport.Listen(ctx, "tcp", r.Addr().String(), reuseport.Options{}) // in each process
//	...
//	err = http.Serve(l, handler)
//
// The listeners of one address form a group. What always holds:
//
//   - All members have one effective uid; a socket of another uid gets EADDRINUSE. A process of the same uid joins
//     without asking, and takes its share. [Owners] shows it.
//   - A TCP socket is a member from listen(2) on, so a [Reservation], which does not listen, receives nothing. A UDP
//     socket is a member from bind(2) on.
//   - Each member has an accept queue of its own, see [Queue]. The kernel chooses a member when the SYN arrives, by a
//     hash over addresses and ports or by weights, see [Attach], whether or not that member's queue is full.
//   - A connection that waits in the queue of a listener when it is closed is reset, unless net.ipv4.tcp_migrate_req
//     is set. [Drain] empties it first.
//     A [MultiListener] watches the queues of other members, too, and accepts what their processes are too busy for.
//   - The members sit in an array, and weights go by index: [Order] mirrors it, and a [Question] asks the kernel.
//
// A member leaves without losing a connection in four steps: Attach with weight 0 for it, Drain, Close, Attach with the
// weights of the new order. The last one uses a [Sink]. What this kernel can do of it tells [Probe].
//
// What the package does not do: it starts no process, and leaves no goroutine running except those of a MultiListener.
// It does not know the members that other processes have opened, beyond what [Listeners] tells.
//
// Every function may be called by several goroutines at the same time. Two that change one group, such as two calls of
// Attach, are for the caller to put in order.
package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
)

// Options are the options of Listen and ListenPacket. The zero value is ready to use.
type Options struct {
	// Control is called with the socket before it is bound, after the options that share the port have been set, as
	// net.ListenConfig's is. An error ends the call and reaches the caller. Default: none.
	Control func(network, address string, c syscall.RawConn) error
}

// Listen opens a TCP listener that shares its port. The network is "tcp", "tcp4" or "tcp6"; network and address mean
// what they do to [net.Listen], and ctx ends the resolution of the address. With port 0 the kernel chooses a port that
// no other socket is bound to.
//
// The listener is never a Multipath TCP one, which Go has made by default since 1.24: on those the kernel answers
// SO_ATTACH_REUSEPORT_CBPF with EOPNOTSUPP, so that connections could not be steered.
//
// Its connections have the keep-alive of package net (after 15 s, every 15 s, 9 times). On Linux they inherit it from the
// listener, which saves four system calls for each; Control can change it there.
//
// Errors are *net.OpError, wrapped: Is syscall.EADDRINUSE if another process holds the port and does not share it with us,
// As net.UnknownNetworkError for another network, Is errors.ErrUnsupported where [Supported] is not nil.
func Listen(ctx context.Context, network, address string, opts Options) (*net.TCPListener, error) {
	if err := check("tcp", network); err != nil {
		return nil, listenError(network, err)
	}
	l, err := opts.listenConfig().Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("reuseport: %w", err)
	}
	return l.(*net.TCPListener), nil
}

// ListenPacket opens a UDP socket that shares its port, as Listen does for the networks "udp", "udp4" and "udp6". The
// kernel chooses a member for each datagram, by a hash over addresses and ports: those of one flow go to one member as
// long as no member comes or goes.
//
// Port 0 is not safe here: unlike for TCP, the kernel may choose a port that sockets of our uid share already
// (udp_lib_lport_inuse), and the new socket joins their group.
func ListenPacket(ctx context.Context, network, address string, opts Options) (*net.UDPConn, error) {
	if err := check("udp", network); err != nil {
		return nil, listenError(network, err)
	}
	c, err := opts.listenConfig().ListenPacket(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("reuseport: %w", err)
	}
	return c.(*net.UDPConn), nil
}

// Supported returns nil where the kernel balances connections between the sockets of a port: Linux since 3.9, and
// FreeBSD since 12 (SO_REUSEPORT_LB). Elsewhere it returns an error that Is errors.ErrUnsupported. The kernel is asked
// once.
func Supported() error {
	if err := supported(); err != nil {
		return fmt.Errorf("reuseport: %w", err)
	}
	return nil
}

var supported = sync.OnceValue(probe)

func (o Options) listenConfig() *net.ListenConfig {
	lc := &net.ListenConfig{KeepAlive: acceptedKeepAlive, Control: func(network, address string, c syscall.RawConn) error {
		if err := share(network, address, c); err != nil {
			return err
		}
		if strings.HasPrefix(network, "tcp") {
			if err := setKeepAlive(c); err != nil {
				return err
			}
		}
		if o.Control == nil {
			return nil
		}
		return o.Control(network, address, c)
	}}
	lc.SetMultipathTCP(false)
	return lc
}

// check tells whether network is of the given protocol and can be shared here.
func check(protocol, network string) error {
	switch network {
	case protocol, protocol + "4", protocol + "6":
		return supported()
	}
	return net.UnknownNetworkError(network)
}

// listenError gives err the shape of an error of net.ListenConfig.
func listenError(network string, err error) error {
	return fmt.Errorf("reuseport: %w", &net.OpError{Op: "listen", Net: network, Err: err})
}

// errUnsupported names what the kernel cannot do.
func errUnsupported(what string) error {
	return fmt.Errorf("%s: %w", what, errors.ErrUnsupported)
}

// control calls f with the descriptor of s, which cannot be closed meanwhile.
func control(s syscall.Conn, f func(fd int) error) error {
	c, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var fErr error
	if err := c.Control(func(fd uintptr) { fErr = f(int(fd)) }); err != nil {
		return err
	}
	return fErr
}
