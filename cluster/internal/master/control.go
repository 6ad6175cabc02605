package master

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/api"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
)

// Control is what the user can ask of a master, in its process or by the control API.
type Control struct{ master *Master }

var _ api.Master = Control{}

// Control returns what the user can ask of m.
func (m *Master) Control() Control { return Control{m} }

// Reload replaces all nodes that accept connections. It waits for an order that runs, as all orders do whose name does not begin
// with Try.
func (c Control) Reload(ctx context.Context) error {
	return c.order(ctx, lifecycle.Order{Kind: lifecycle.Reload, Name: "reload"})
}

// TryReload is Reload, with [control.ErrBusy] when another order runs.
func (c Control) TryReload(ctx context.Context) error {
	return c.order(ctx, lifecycle.Order{Kind: lifecycle.Reload, Name: "reload", AtOnce: true})
}

// Scale changes the number of nodes that accept connections.
func (c Control) Scale(ctx context.Context, count int) error {
	return c.order(ctx, lifecycle.Order{Kind: lifecycle.Scale, Name: "scale", Count: count})
}

// TryScale is Scale, with [control.ErrBusy] when another order runs.
func (c Control) TryScale(ctx context.Context, count int) error {
	return c.order(ctx, lifecycle.Order{Kind: lifecycle.Scale, Name: "scale", Count: count, AtOnce: true})
}

// Drain replaces one node.
func (c Control) Drain(ctx context.Context, id int) error {
	return c.order(ctx, lifecycle.Order{Kind: lifecycle.Drain, Name: "drain", Node: id})
}

// Takeover replaces the master itself.
func (c Control) Takeover(ctx context.Context) error {
	return c.order(ctx, lifecycle.Order{Kind: lifecycle.Takeover, Name: doingTakeover})
}

// order has an order carried out, and returns when it has ended.
func (c Control) order(ctx context.Context, o lifecycle.Order) error {
	err := c.master.supervisor.CarryOut(ctx, o)
	if errors.Is(err, control.ErrStopping) {
		return fmt.Errorf("cluster: %s: %w", o.Name, err)
	} else if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// Stop begins the stop.
func (c Control) Stop() { c.master.node.Stop(nil, c.master.cfg.Node.StopTimeout) }

// Watch returns the events since that of Seq after, and those to come.
func (c Control) Watch(after int) (past []control.Event, next <-chan control.Event, cancel func()) {
	return c.master.journal.Watch(after)
}

// Status returns what the master knows of the cluster now.
func (c Control) Status() control.Status {
	m := c.master
	out := m.node.Status()
	steering, weights := m.steering.Status(m.key)
	if _, address, ok := m.steering.Main(m.key); ok {
		out.Address = address
	}
	out.Steering, out.Since, out.Directory = steering, m.since, m.claim.directory.Path()
	out.Nodes[0].Since = m.since
	if state, ok := m.supervisor.State(); ok {
		out.Wanted = state.Nodes
		out.Nodes = append(out.Nodes, state.Workers...)
		out.Doing = state.Doing
	}
	if m.node.IsStopping() {
		out.Doing = "stop"
	}
	for i := range out.Nodes {
		out.Nodes[i].Weight = weights[out.Nodes[i].ID]
	}
	slices.SortFunc(out.Nodes, func(a, b control.NodeStatus) int { return cmp.Or(a.Slot-b.Slot, a.ID-b.ID) })
	return out
}

// obey has the order carried out that a signal brings. While an order waits for its turn, more signals for it are merged
// into it.
func (m *Master) obey(sig os.Signal) {
	o, ok := m.cfg.Orders[sig]
	if !ok || m.node.IsStopping() {
		return
	}
	o.Signal = sig.String()
	go func() { _ = m.Control().order(context.Background(), o) }() // ends with the order, which ends with the node; the error is in the log
}

// stamp returns an event of the journal with its number and its time.
func stamp(e control.Event, seq int, now time.Time) control.Event {
	e.Seq, e.Time = seq, now
	return e
}
