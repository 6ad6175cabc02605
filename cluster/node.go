package cluster

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/master"
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/descriptors"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// Node is this process in its cluster. All methods may be called at the same time.
type Node struct {
	node    *node.Node
	master  *master.Master // nil in others
	isAlone bool           // this is the only process
	timeout time.Duration  // Options.StopTimeout
}

// ID returns the node's number, which no other node of this cluster ever had or will have. The master of a new
// cluster is 0, workers count from 1.
func (n *Node) ID() int { return n.node.Mesh.Self().ID }

// Slot returns the node's stable place: 0 is the master, workers have 1 to N. The replacement of a worker takes over
// its slot.
func (n *Node) Slot() int { return n.node.Mesh.Self().Slot }

// Generation returns how often the slot has been filled, from 1.
func (n *Node) Generation() int { return n.node.Mesh.Self().Generation }

// IsMaster reports whether this process is the master, and so the place for what must happen once.
func (n *Node) IsMaster() bool { return n.node.Mesh.Self().Slot == 0 }

// Name returns the name of the cluster.
func (n *Node) Name() string { return n.node.Mesh.Self().Cluster }

// Mesh returns this node's part in the mesh of all nodes: the nodes that are present, joins and leaves, and streams by name. The
// node closes it when it ends.
func (n *Node) Mesh() *peer.Mesh { return n.node.Mesh }

// Peers returns the other nodes that are linked to this one, by id.
func (n *Node) Peers() []peer.Info { return n.node.Mesh.Peers() }

// Bus returns this node's part in the bus of all nodes, for messages to all, to one, and with answers. The node closes it
// when it ends, after its server, so that the last requests can still send.
func (n *Node) Bus() *bus.Bus { return n.node.Bus }

// nodeStream names the streams of OnNode.
const nodeStream = "node"

// OnNode calls f with a stream to each other node, present or future, once it can be written and read, in a goroutine of its own.
// Every node of the cluster has to call OnNode: a pair of nodes has a stream when both have called it. The stream belongs to f,
// as in [peer.Mesh.OnStream]; it stays open when f returns. A second call panics, as there is one such stream to each node; for
// others see [Node.Mesh].
func (n *Node) OnNode(f func(*peer.Stream)) {
	if _, err := n.node.Mesh.OnStream(nodeStream, nil, f); err != nil {
		panic(fmt.Errorf("cluster: OnNode: %w", err))
	}
}

// Addr returns the address that all nodes share, with the port's number also where port 0 was asked for.
func (n *Node) Addr() net.Addr { return n.node.Addr() }

// Listener returns the node's listener for Options.Addr, for programs that serve by themselves. It accepts *net.TCPConns. In a
// node made by [Start] the first call makes the node listen, so call it when the server is ready to accept; the node is ready at
// the first Accept. A node that cannot listen ends, and [Node.Wait] returns the reason. In a master that does not listen, Accept
// returns no connection.
//
// When the node drains it leaves the port, and then [Node.Draining] is done: no new connections arrive. That is the time to end
// the server gracefully, with GracefulStop or its equivalent. From then on Accept blocks until the node has ended or the program
// closes the listener: a server that ends when Accept fails would drop its connections. The node ends when all connections that
// the listener has accepted are closed. Connections that are open after Options.StopTimeout are cut by the end of the process,
// and the error of Wait says how many they were. Only on Linux the node knows which connections are open; elsewhere it does not
// wait for them.
//
// A program that closes the listener before Draining is done loses the connections that wait to be accepted.
func (n *Node) Listener() net.Listener {
	l, err := n.node.Front()
	if err != nil {
		n.node.Stop(err, n.timeout)
		l = n.node.Keep(serve.NewIdleListener(n.Addr()))
	}
	return l
}

// Listen shares one more port: every node of the cluster calls it with the same arguments. network is "tcp", "tcp4" or
// "tcp6"; port 0 is one free port for all, another one for each further call. In a master that does not listen the
// listener accepts nothing. The node listens when Listen returns, so call it when the server is ready to accept, and serve
// with [Node.Serve], or by yourself: the listener is in everything as that of [Node.Listener]. A call in a node that stops
// is an error that Is [ErrStopping].
func (n *Node) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := n.node.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", descriptors.Explain(err))
	}
	return l, nil
}

// Ready marks the node as ready to serve. It has an effect with Options.ManualReady only.
func (n *Node) Ready() { n.node.Ready() }

// WaitReady waits until this node is ready and, on the master, until each slot has had a worker that became ready. It
// returns early with the error of the node when that has ended, or of ctx.
func (n *Node) WaitReady(ctx context.Context) error {
	for _, ready := range n.node.AllReadiness() {
		select {
		case <-ready:
		case <-n.node.Done():
		case <-ctx.Done():
			return fmt.Errorf("cluster: wait until ready: %w", ctx.Err())
		}
	}
	select {
	case <-n.node.Done():
		if err := n.Wait(); err != nil {
			return err
		}
		return fmt.Errorf("cluster: the node has ended: %w", net.ErrClosed)
	default:
		return nil
	}
}

// Wait waits until the node has ended. It returns nil after a stop in which nothing was cut, and else the reason for the end, or
// what was cut. If a worker ended the cluster, the error wraps its [WorkerError].
func (n *Node) Wait() error { return n.node.Wait() }

// Shutdown stops the node gracefully: it leaves its ports, [Node.Draining] is done, clients are told to stop using their idle
// connections, and requests in flight finish, as [Server] and [Node.Listener] describe it. On the master all nodes stop. What has
// not finished when ctx is done, or after Options.StopTimeout, is cut: connections are closed, workers killed. The error is that
// of Wait.
func (n *Node) Shutdown(ctx context.Context) error {
	timeout := n.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	n.node.Stop(nil, timeout)
	select {
	case <-n.node.Done():
	case <-ctx.Done():
		n.node.Hurry()
	}
	return n.Wait()
}

// Status returns the state of the cluster as the master knows it now. In a worker it contains this node only.
func (n *Node) Status() control.Status {
	if n.master == nil {
		return n.node.Status()
	}
	return n.master.Control().Status()
}
