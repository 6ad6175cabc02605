// Package node is one process of a cluster: its links to the other nodes, its ports and servers, the signals that it handles, and
// its end. The part that only a master or a worker has is its [Role].
package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
)

// Config configures a Node. The fields are those of cluster.Options with their names.
type Config struct {
	Logger                                            *slog.Logger
	BootTimeout, StopTimeout, LameDuck, HijackTimeout time.Duration
	ManualReady                                       bool
	Sharing                                           Sharing

	Takes       func(os.Signal) bool // whether the node takes a signal
	PrepareHTTP func(*http.Server)   // is called with each server that is given to the node
}

// briefLameDuck bounds how long idle connections stay open when the whole cluster stops.
const briefLameDuck = time.Second

// BriefLameDuck returns how long idle connections stay open when the whole cluster stops: no other node takes their clients.
func (c Config) BriefLameDuck() time.Duration { return min(c.LameDuck, briefLameDuck) }

// Role is the part of a node that differs between master and worker. Functions that are nil have nothing to do.
type Role struct {
	// Stop ends the node, for the reason cause; Stopping bounds it. It is called once, in a goroutine of its own.
	Stop func(cause error) error
	// Serving is called when the main port is served.
	Serving func()
	// Left is called when the node has left its ports, with how long that took.
	Left func(took time.Duration)
	// AllReady is closed when all others are ready; nil: it waits for no other.
	AllReady <-chan struct{}
	// StandIn returns a listener that stands for a port, in a node that does not accept.
	StandIn func(ctx context.Context, key portgroup.Key) (net.Listener, error)
	// Obey carries out the order that a signal brings.
	Obey func(os.Signal)
	// PassOn is called with the signal that stops the node.
	PassOn func(os.Signal)
}

// Node is a process in its cluster. All methods may be called at the same time.
type Node struct {
	cfg Config
	Links
	*Life
	*Ports
	*Readiness
	Servers *serve.Servers
	role    Role
	ending  ending // of the servers
}

// New makes a node at the port key, which has the address addr. It does not listen yet.
func New(c Config, links Links, listeners *local.Listeners, key portgroup.Key, addr net.Addr) *Node {
	n := &Node{cfg: c, Links: links}
	n.Life = newLife(n.leave)
	n.Readiness = newReadiness(c.ManualReady)
	n.Ports = newPorts(listeners, key, addr)
	n.front = sync.OnceValues(n.openFront)
	n.Servers = serve.New(serve.Config{HijackTimeout: c.HijackTimeout, PrepareHTTP: c.PrepareHTTP})
	self := links.Mesh.Self()
	listeners.BelongTo(local.Node{
		Logger: c.Logger.With("id", self.ID, "slot", self.Slot), Load: n.Servers.Load, Stopping: n.Begun(),
	})
	return n
}

// Start begins the node's life in its role: from here on its signals are caught.
func (n *Node) Start(r Role) {
	n.role = r
	n.watchSignals()
	close(n.started)
}

// Serve makes server serve the main port, or instead the given listeners. In a node that is not to accept it does nothing.
func (n *Node) Serve(server serve.Server, listeners []net.Listener) error {
	if !n.isWanted() {
		return nil
	}
	if len(listeners) == 0 {
		front, err := n.Front()
		if err != nil {
			return err
		}
		listeners = []net.Listener{front}
	}
	return n.Servers.Serve(server, listeners, func(err error) { n.Stop(err, n.cfg.StopTimeout) })
}

// isWanted reports whether this node is to accept connections.
func (n *Node) isWanted() bool { return n.accepts.Load() && !n.IsStopping() }
