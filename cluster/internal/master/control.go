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
	"github.com/multinode-go/multinode/reuseport"
)

// Control has the operations of a master that the user may call, in its process or by the control API.
type Control struct{ master *Master }

var _ api.Master = Control{}

// Control returns the operations of m.
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

// Pause keeps new connections from a node until Resume. The next master finds it in the lock file.
func (c Control) Pause(_ context.Context, id int) error { return c.pause("pause", id, true) }

// Resume ends a Pause.
func (c Control) Resume(_ context.Context, id int) error { return c.pause("resume", id, false) }

func (c Control) pause(name string, id int, is bool) error {
	m := c.master
	m.pausing.Lock()
	defer m.pausing.Unlock()
	n, err := c.canPause(id, is)
	if err != nil {
		return fmt.Errorf("cluster: %s node %d: %w", name, id, err)
	}
	if err := m.claim.current().Pause(id, is); err != nil {
		return fmt.Errorf("cluster: %s node %d: %w (%w)", name, id, control.ErrBusy, err)
	}
	m.steering.Pause(id, is)
	kind := control.EventResumed
	if is {
		kind = control.EventPaused
	}
	m.cfg.Node.Logger.Info("node "+string(kind), "id", id, "slot", n.Slot)
	m.journal.Emit(control.Event{Kind: kind, ID: id, Slot: n.Slot, Generation: n.Generation, PID: n.PID})
	return nil
}

// canPause returns the node that is to be paused, or resumed, or why it cannot be.
func (c Control) canPause(id int, is bool) (found control.NodeStatus, err error) {
	if level := c.master.steering.Level(); level < reuseport.RungBPF {
		return found, fmt.Errorf("%w: connections are steered by %q, which cannot leave a node out (multinode doctor says what can)",
			errors.ErrUnsupported, level)
	}
	err = control.ErrNoNode
	others := false
	for _, n := range c.Status().Nodes {
		if !n.Accepts || n.State == control.StateDraining {
			continue
		}
		if n.ID == id {
			found, err = n, nil
		} else {
			others = others || n.State == control.StateReady
		}
	}
	if err == nil && is && !others {
		err = control.ErrOnlyNode
	}
	return found, err
}

// restorePauses pauses the nodes that another master has paused.
func (m *Master) restorePauses() {
	for _, id := range m.claim.directory.LastOwner().Paused {
		m.steering.Pause(id, true)
	}
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

// Watch returns the events after the one with Seq after, past and future.
func (c Control) Watch(after int) (past []control.Event, next <-chan control.Event, cancel func()) {
	return c.master.journal.Watch(after)
}

// Status returns the state of the cluster now.
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
		n := &out.Nodes[i]
		n.Weight = weights[n.ID]
		if n.State == control.StateReady && m.steering.IsPaused(n.ID) {
			n.State = control.StatePaused
		}
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
