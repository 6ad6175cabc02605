package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/multinode-go/multinode/reuseport"
)

// portKey names a port in the same way in all nodes: it is the nth that the program asks for with this network and
// address, so that two times port 0 are two ports.
type portKey struct {
	Network string `json:"network"`
	Address string `json:"address"`
	Nth     int    `json:"nth"`
}

// ports holds the ports of the cluster for its life. The master has it; workers ask.
type ports struct {
	mu     sync.Mutex // guards held; also keeps two nodes from reserving one port at once
	held   map[portKey]*reuseport.Reservation
	closed bool
}

// address returns the address of the port that key names, with the port's number. The first to ask reserves it.
func (p *ports) address(ctx context.Context, key portKey) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", net.ErrClosed
	}
	reservation := p.held[key]
	if reservation == nil {
		var err error
		if reservation, err = reuseport.Reserve(ctx, key.Network, key.Address); err != nil {
			return "", explain(ctx, key, err)
		}
		if p.held == nil {
			p.held = make(map[portKey]*reuseport.Reservation)
		}
		p.held[key] = reservation
	}
	return reservation.Addr().String(), nil
}

// answer answers a worker's question for an address.
func (p *ports) answer(question message) message {
	reply := message{Kind: kindAnswer, Seq: question.Seq}
	if question.Port == nil {
		reply.Error = "the question names no port"
		return reply
	}
	address, err := p.address(context.Background(), *question.Port)
	if err != nil {
		reply.Error = err.Error()
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			reply.Errno = int(errno)
		}
	}
	reply.Address = address
	return reply
}

func (p *ports) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, reservation := range p.held {
		err = join(err, reservation.Close())
	}
	p.held = nil
	return err
}

// masterError is an error that the master has told a worker. errors.Is finds its errno.
type masterError struct {
	text  string
	errno syscall.Errno
}

func (e *masterError) Error() string { return e.text }

func (e *masterError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// explain adds to the error of a bind who holds the port, or what the user can do.
func explain(ctx context.Context, key portKey, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: %s; stop it, or choose another address", err, holders(ctx, key))
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: a port below 1024 takes the capability CAP_NET_BIND_SERVICE (setcap "+
			"cap_net_bind_service=+ep PROGRAM), or a lower sysctl net.ipv4.ip_unprivileged_port_start; "+
			"or choose a higher port", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this machine has that address (ip address lists them); "+
			"an empty host means all", err)
	default:
		return fmt.Errorf("address %q: %w", key.Address, err)
	}
}

// maxHolders is how many holders of a port an error lists.
const maxHolders = 4

// holders says who holds a port, as far as the kernel tells.
func holders(ctx context.Context, key portKey) string {
	owners, err := reuseport.Owners(ctx, key.Network, key.Address)
	if err != nil {
		return fmt.Sprintf("who holds it is not known (%v)", err)
	}
	var names []string
	for _, owner := range owners {
		name := owner.String()
		if owner.PID == os.Getpid() {
			name = "this process itself"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch more := len(names) - maxHolders; {
	case len(names) == 0:
		return "nobody listens on it, but a connection may still use it (ss -tanp shows connections)"
	case more > 0:
		return fmt.Sprintf("held by %s and %d more", strings.Join(names[:maxHolders], ", "), more)
	default:
		return "held by " + strings.Join(names, ", ")
	}
}
