package portgroup

import (
	"context"
	"net/netip"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// Agent holds listeners, and serves the requests of a master about them. It is this process, a worker at the other end of its
// control stream, or the master itself on behalf of a program that does not use this package. All methods may be called at the
// same time.
type Agent interface {
	// Open listens on address for a port, unless that is so already, and returns the inode of the listener.
	Open(ctx context.Context, port Key, address string) (inode uint32, err error)
	// Shut closes the listener of a port.
	Shut(ctx context.Context, port Key) error
	// Rejoin leaves the group of a port and joins it again, where no connection can be lost by it. It only begins with it.
	Rejoin(ctx context.Context, port Key) error
	// Attach attaches a program through the listener, unless it is later than until, by CLOCK_MONOTONIC: a process that was
	// stopped must not attach an old program when it continues.
	Attach(ctx context.Context, port Key, s reuseport.Steering, until time.Duration) error
	// Help sets whether the agent accepts from the queues of other agents, where these are shared.
	Help(ctx context.Context, port Key, is bool) error
	// SetCPU sets SO_INCOMING_CPU of the listener; -1 is no CPU.
	SetCPU(ctx context.Context, port Key, cpu int) error
	// Expect watches for a probe connection from source, until Forget or for some seconds.
	Expect(ctx context.Context, port Key, source netip.AddrPort) error
	// Await waits until the connection that is expected has been accepted, and returns the inode of the listener in whose queue it
	// was: nodes accept from the queues of others, too. 0 is the agent's own. For a connection that is not expected it returns
	// an error, unless it was accepted from the queue of another node.
	Await(ctx context.Context, port Key, source netip.AddrPort) (inode uint32, err error)
	// Forget ends the watch, and reports whether the connection has arrived.
	Forget(ctx context.Context, port Key, source netip.AddrPort) (came bool, err error)
	// Keep keeps a snapshot of the group for the next master.
	Keep(ctx context.Context, port Key, s Snapshot) error
	// Probe returns when all accept loops have passed: the process lives, and its server accepts.
	Probe(ctx context.Context) (Load, error)
}

// Load is the load of an agent.
type Load struct {
	Connections int     `json:"conns,omitempty"`
	Requests    int     `json:"requests,omitempty"`
	Queues      []Queue `json:"seats,omitempty"`
}

// Queue is the accept queue of a listener.
type Queue struct {
	Port   Key `json:"port"`
	Length int `json:"queue,omitempty"`
	Limit  int `json:"limit,omitempty"`
}
