package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/supervise"
)

// Reload replaces all nodes that accept connections, one after the other, by processes that run the program as it is on
// disk now: this is the deploy. No connection is lost where they can be steered, see [control.Steering]; each node goes on serving
// until its replacement is ready. A replacement that does not become ready ends the reload with its error, and those that
// have not been replaced stay.
//
// A master that accepts connections itself hands that over to one more worker, and only supervises from then on: its own
// process still runs the old program, until a [Node.Takeover]. Its Server gets a Shutdown; where the program accepts by
// itself, Accept blocks from then on until the node ends.
//
// Reload returns when all are replaced and get no new connections any more; their requests in flight may take
// Options.StopTimeout from then on. It waits while another Reload, Scale or Drain runs; see [Node.TryReload]. When ctx is
// done it ends between two steps, which may leave old and new nodes side by side. In a worker the error Is [ErrNotMaster],
// in a cluster that stops [ErrStopping], and in a node that serves alone [errors.ErrUnsupported].
func (n *Node) Reload(ctx context.Context) error {
	return n.order(ctx, lifecycle.Order{Kind: lifecycle.Reload, Name: "reload"})
}

// TryReload is Reload, but returns an error that Is [ErrBusy] when it would have to wait.
func (n *Node) TryReload(ctx context.Context) error {
	return n.order(ctx, lifecycle.Order{Kind: lifecycle.Reload, Name: "reload", AtOnce: true})
}

// Scale changes the number of nodes that accept connections to count, from 1 to 1024: up by nodes that are ready when it
// returns, down by letting those of the highest slots leave without losing a connection. A node that does not become
// ready ends it with its error; those that did stay. What is said of waiting and ctx at [Node.Reload] holds here.
func (n *Node) Scale(ctx context.Context, count int) error {
	return n.order(ctx, lifecycle.Order{Kind: lifecycle.Scale, Name: "scale", Count: count})
}

// TryScale is Scale, but returns an error that Is [ErrBusy] when it would have to wait.
func (n *Node) TryScale(ctx context.Context, count int) error {
	return n.order(ctx, lifecycle.Order{Kind: lifecycle.Scale, Name: "scale", Count: count, AtOnce: true})
}

// Drain replaces one node, as Reload does with all. The error Is [ErrNoNode] when no node that accepts connections has
// that id.
func (n *Node) Drain(ctx context.Context, id int) error {
	return n.order(ctx, lifecycle.Order{Kind: lifecycle.Drain, Name: "drain", Node: id})
}

// order has an order carried out, and returns when it has ended.
func (n *Node) order(ctx context.Context, o lifecycle.Order) error {
	switch {
	case n.master != nil:
	case n.worker != nil:
		return fmt.Errorf("cluster: %s: %w", o.Name, ErrNotMaster)
	default:
		return fmt.Errorf("cluster: %s: %w: this node serves alone, in one process", o.Name, errors.ErrUnsupported)
	}
	err := n.master.supervisor.CarryOut(ctx, o)
	if errors.Is(err, ErrStopping) {
		return fmt.Errorf("cluster: %s: %w", o.Name, err)
	} else if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// accepting returns how many nodes are meant to accept connections.
func (n *Node) accepting() int {
	state, _ := n.master.supervisor.State()
	return state.Nodes
}

// supervised is the master's node as its supervisor sees it.
type supervised struct{ *Node }

var _ supervise.Master = supervised{}

// LeavePorts ends the part of the master that serves, which only supervises from then on.
func (n supervised) LeavePorts(left func()) {
	m, pid, begin := n.master, n.links.mesh.Self().PID, time.Now()
	m.journal.Emit(control.Event{Kind: control.EventDraining, ID: n.ID(), PID: pid})
	n.accepts.Store(false)
	n.markServing()
	go func() { // ends within StopTimeout; the node's end waits for it
		ctx, cancel := context.WithTimeout(context.Background(), n.opts.StopTimeout)
		defer cancel()
		if err := n.endServers(ctx, n.opts.LameDuck); err != nil {
			m.opts.Logger.Warn("requests of the master were cut when it handed over to a worker", "error", err)
		}
	}()
	go func() { // ends with the drain, or the node
		select {
		case <-n.left:
		case <-n.done:
		}
		m.journal.Emit(control.Event{Kind: control.EventDrained, ID: n.ID(), PID: pid, Took: time.Since(begin)})
		left()
	}()
}

// Reloading tells the service manager that a reload begins, or has ended.
func (n supervised) Reloading(is bool, nodes int) {
	if is {
		n.master.tellManager(n.master.notifier.Reloading())
		return
	}
	n.master.tellManager(n.master.notifier.Ready(n.summary(nodes)))
}

// Scaled tells the service manager how many nodes there are.
func (n supervised) Scaled(nodes int) {
	n.master.tellManager(n.master.notifier.Status(n.summary(nodes)))
}
