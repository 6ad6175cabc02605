package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/multinode-go/multinode/cluster/internal/master"
)

// Reload replaces all nodes that accept connections, one after the other, by processes that run the program as it is on disk now:
// this is the deploy. No connection is lost where they can be steered, see [control.Steering]; each node continues to serve until
// its replacement is ready. A replacement that does not become ready ends the reload with its error, and the nodes that have not
// been replaced stay.
//
// A master that accepts connections itself hands that over to one more worker, and only supervises from then on: its own process
// still runs the old program, until a [Node.Takeover]. Its Server gets a Shutdown; if the program accepts by itself, Accept
// blocks from then on until the node ends.
//
// Reload returns when all nodes are replaced and the old ones get no new connections; their requests in flight may take
// Options.StopTimeout from then on. It waits while another Reload, Scale or Drain runs; see [Node.TryReload]. When ctx is done it
// ends between two steps, which may leave old and new nodes side by side. In a worker the error Is [ErrNotMaster], in a cluster
// that stops [ErrStopping], and in a node that serves alone [errors.ErrUnsupported].
func (n *Node) Reload(ctx context.Context) error {
	return order(n, "reload", func(c master.Control) error { return c.Reload(ctx) })
}

// TryReload is Reload, but returns an error that Is [ErrBusy] when it would have to wait.
func (n *Node) TryReload(ctx context.Context) error {
	return order(n, "reload", func(c master.Control) error { return c.TryReload(ctx) })
}

// Scale changes the number of nodes that accept connections to count, from 1 to 1024. New nodes are ready when it returns; with a
// smaller count the nodes of the highest slots leave without losing a connection. A node that does not become ready ends Scale
// with its error; the others stay. It waits, and obeys ctx, as [Node.Reload] does.
func (n *Node) Scale(ctx context.Context, count int) error {
	return order(n, "scale", func(c master.Control) error { return c.Scale(ctx, count) })
}

// TryScale is Scale, but returns an error that Is [ErrBusy] when it would have to wait.
func (n *Node) TryScale(ctx context.Context, count int) error {
	return order(n, "scale", func(c master.Control) error { return c.TryScale(ctx, count) })
}

// Drain replaces one node, as Reload does with all. The error Is [ErrNoNode] when no node that accepts connections has
// that id.
func (n *Node) Drain(ctx context.Context, id int) error {
	return order(n, "drain", func(c master.Control) error { return c.Drain(ctx, id) })
}

// Takeover replaces the master itself: it starts the program as it is on disk now, hands the workers over to it, and leaves, with
// Wait returning nil. The workers continue to serve and notice nothing; a Reload of the new master then replaces them. A
// successor that does not become the master within Options.BootTimeout is ended, and this master continues.
//
// A stop in the meantime, of this master or of its successor, stops the whole cluster: the successor hands back what it has, and
// is ended. After a takeover that has succeeded, a stop of this process stops itself only; but a signal to stop that arrives
// within a second is passed on to the successor, as its sender could not know.
//
// In a container the init that is process 1 stays, and follows the successor.
func (n *Node) Takeover(ctx context.Context) error {
	return order(n, "takeover", func(c master.Control) error { return c.Takeover(ctx) })
}

// order carries out an operation of the master.
func order(n *Node, name string, do func(master.Control) error) error {
	switch {
	case n.master != nil:
		return do(n.master.Control())
	case n.isAlone:
		return fmt.Errorf("cluster: %s: %w: this node serves alone, in one process", name, errors.ErrUnsupported)
	default:
		return fmt.Errorf("cluster: %s: %w", name, ErrNotMaster)
	}
}
