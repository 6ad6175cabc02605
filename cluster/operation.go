package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// Reload replaces all nodes that accept connections, one after the other, by processes that run the program as it is on
// disk now: this is the deploy. No connection is lost where they can be steered, see [Steering]; each node goes on serving
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
func (n *Node) Reload(ctx context.Context) error { return n.operate(ctx, true, "reload", n.reloadAll) }

// TryReload is Reload, but returns an error that Is [ErrBusy] when it would have to wait.
func (n *Node) TryReload(ctx context.Context) error {
	return n.operate(ctx, false, "reload", n.reloadAll)
}

// Scale changes the number of nodes that accept connections to count, from 1 to 1024: up by nodes that are ready when it
// returns, down by letting those of the highest slots leave without losing a connection. A node that does not become
// ready ends it with its error; those that did stay. What is said of waiting and ctx at [Node.Reload] holds here.
func (n *Node) Scale(ctx context.Context, count int) error {
	return n.operate(ctx, true, "scale", func(ctx context.Context) error { return n.scaleTo(ctx, count) })
}

// TryScale is Scale, but returns an error that Is [ErrBusy] when it would have to wait.
func (n *Node) TryScale(ctx context.Context, count int) error {
	return n.operate(ctx, false, "scale", func(ctx context.Context) error { return n.scaleTo(ctx, count) })
}

// scaleBy is Scale to so many more nodes than now, as far as the bounds allow; not at all is an error.
func scaleBy(ctx context.Context, n *Node, more int) error {
	now := n.accepting()
	count := max(1, min(now+more, maxNodes))
	if count == now {
		count = now + more
	}
	return n.scaleTo(ctx, count)
}

// accepting returns how many nodes are meant to accept connections.
func (n *Node) accepting() int {
	count := len(n.master.supervisor.openSlots())
	if n.accepts.Load() {
		count++
	}
	return count
}

// Drain replaces one node, as Reload does with all. The error Is [ErrNoNode] when no node that accepts connections has
// that id.
func (n *Node) Drain(ctx context.Context, id int) error {
	return n.operate(ctx, true, "drain", func(ctx context.Context) error { return n.replace(ctx, id) })
}

// operate runs one operation at a time. Status says what it is.
func (n *Node) operate(ctx context.Context, wait bool, what string, do func(context.Context) error) error {
	switch {
	case n.master != nil:
	case n.worker != nil:
		return fmt.Errorf("cluster: %s: %w", what, ErrNotMaster)
	default:
		return fmt.Errorf("cluster: %s: %w: this node serves alone, in one process", what, errors.ErrUnsupported)
	}
	select {
	case n.master.operation <- struct{}{}:
	default:
		if !wait {
			return fmt.Errorf("cluster: %w", ErrBusy)
		}
		select {
		case n.master.operation <- struct{}{}:
		case <-n.done:
			return fmt.Errorf("cluster: %w", ErrStopping)
		case <-ctx.Done():
			return fmt.Errorf("cluster: wait for another operation to end: %w", ctx.Err())
		}
	}
	defer func() { <-n.master.operation }()
	if n.isStopping() {
		return fmt.Errorf("cluster: %w", ErrStopping)
	}
	s := n.master.supervisor
	s.do(func() { s.doing = what })
	defer s.do(func() { s.doing = "" })
	if err := do(ctx); errors.Is(err, ErrStopping) {
		n.opts.Logger.Info("an order is given up, as the cluster stops", "order", what, "error", err)
		return fmt.Errorf("cluster: %s: %w", what, err)
	} else if err != nil {
		n.opts.Logger.Error("an order has failed", "error", err)
		n.master.journal.Emit(control.Event{Kind: control.EventFailed, ID: -1, Text: err.Error()})
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

func (n *Node) reloadAll(ctx context.Context) error {
	m, begin := n.master, time.Now()
	m.opts.Logger.Info("reloading")
	m.journal.Emit(control.Event{Kind: control.EventReloading, ID: -1})
	m.tellManager(m.notifier.Reloading())
	defer func() { m.tellManager(m.notifier.Ready(n.summary())) }()
	if err := n.reloadEach(ctx); err != nil {
		return fmt.Errorf("reload: the nodes that were not replaced go on: %w", err)
	}
	took := time.Since(begin)
	m.opts.Logger.Info("reloaded", "took", round(took))
	m.journal.Emit(control.Event{Kind: control.EventReloaded, ID: -1, Took: took})
	return nil
}

func (n *Node) reloadEach(ctx context.Context) error {
	slots := n.master.supervisor.openSlots() // without the one that replaces the master
	if n.accepts.Load() {
		if err := n.replaceMaster(ctx); err != nil {
			return err
		}
	}
	for _, slot := range slots {
		if err := n.master.supervisor.renew(ctx, slot); err != nil {
			return err
		}
	}
	return nil
}

// replace replaces the node of that id.
func (n *Node) replace(ctx context.Context, id int) error {
	if id == n.ID() && n.accepts.Load() {
		return n.replaceMaster(ctx)
	}
	var slot *slot
	n.master.supervisor.do(func() {
		if w := n.master.supervisor.workers[id]; w != nil && w.part == occupant {
			slot = w.slot
		}
	})
	if slot == nil {
		return fmt.Errorf("drain node %d: %w", id, ErrNoNode)
	}
	return n.master.supervisor.renew(ctx, slot)
}

// replaceMaster puts one more worker in the place of the master, which only supervises from then on.
func (n *Node) replaceMaster(ctx context.Context) error {
	if err := n.master.supervisor.grow(ctx); err != nil {
		return err
	}
	m, pid := n.master, n.links.mesh.Self().PID
	m.journal.Emit(control.Event{Kind: control.EventDraining, ID: n.ID(), PID: pid})
	begin := time.Now()
	n.accepts.Store(false)
	n.markServing()
	go func() { // ends within StopTimeout; the node's end waits for it
		ctx, cancel := context.WithTimeout(context.Background(), n.opts.StopTimeout)
		defer cancel()
		if err := n.endServers(ctx, n.opts.LameDuck); err != nil {
			m.opts.Logger.Warn("requests of the master were cut when it handed over to a worker", "error", err)
		}
	}()
	select {
	case <-n.left:
	case <-n.done:
	}
	m.journal.Emit(control.Event{Kind: control.EventDrained, ID: n.ID(), PID: pid, Took: time.Since(begin)})
	return nil
}

func (n *Node) scaleTo(ctx context.Context, count int) error {
	if count < 1 || count > maxNodes {
		return fmt.Errorf("scale to %d: it must be 1 to %d nodes", count, maxNodes)
	}
	if err := moreDescriptors(count - n.accepting()); err != nil {
		return fmt.Errorf("scale to %d: %w", count, err)
	}
	m, begin := n.master, time.Now()
	workers := count
	if n.accepts.Load() {
		workers--
	}
	s := m.supervisor
	slots := s.openSlots()
	m.opts.Logger.Info("scaling", "nodes", count)
	m.journal.Emit(control.Event{Kind: control.EventScaling, ID: -1, Text: fmt.Sprintf("to %d nodes", count)})
	for i := len(slots); i < workers; i++ {
		if err := s.grow(ctx); err != nil {
			return fmt.Errorf("scale to %d: %w", count, err)
		}
	}
	for i := len(slots); i > workers; i-- {
		if err := s.shrink(ctx, slots[i-1]); err != nil {
			return fmt.Errorf("scale to %d: %w", count, err)
		}
	}
	m.opts.Logger.Info("scaled", "nodes", count, "took", round(time.Since(begin)))
	m.tellManager(m.notifier.Status(n.summary()))
	m.journal.Emit(control.Event{Kind: control.EventScaled, ID: -1, Text: fmt.Sprintf("to %d nodes", count), Took: time.Since(begin)})
	return nil
}

// openSlots returns the slots that are meant to be filled, by number.
func (s *supervisor) openSlots() (open []*slot) {
	s.do(func() { open = slices.Clone(s.slots) })
	return open
}

// renew replaces the worker of a slot by a new one, and returns when that is ready and the old one has left the port.
func (s *supervisor) renew(ctx context.Context, slot *slot) error {
	var fresh, old *worker
	stopping := true // if run has ended
	s.do(func() {
		if s.stopping || slot.closed {
			stopping = s.stopping
			return
		}
		old = s.occupantOf(slot)
		fresh = s.startWorker(slot, candidate, time.Now())
	})
	switch {
	case fresh == nil && stopping:
		return ErrStopping
	case fresh == nil:
		return nil // restarting is disabled, and the slot is empty
	}
	if err := s.awaitReady(ctx, fresh, s.abandon); err != nil {
		return fmt.Errorf("slot %d: %w", slot.number, err)
	}
	if old == nil {
		return nil
	}
	return s.awaitDrained(ctx, old)
}

// grow adds a slot, and returns when its worker is ready.
func (s *supervisor) grow(ctx context.Context) error {
	var fresh *worker
	s.do(func() {
		if !s.stopping {
			fresh = s.startWorker(s.addSlot(), candidate, time.Now())
		}
	})
	if fresh == nil {
		return ErrStopping
	}
	err := s.awaitReady(ctx, fresh, func(w *worker) {
		s.dropSlot(w.slot)
		s.retire(w)
	})
	if err != nil {
		s.do(func() { s.dropSlot(fresh.slot) })
		return fmt.Errorf("slot %d: %w", fresh.slot.number, err)
	}
	return nil
}

// shrink gives a slot up, and returns when its worker has left the port.
func (s *supervisor) shrink(ctx context.Context, slot *slot) error {
	var old *worker
	s.do(func() {
		s.dropSlot(slot)
		if old = s.occupantOf(slot); old != nil {
			s.retire(old)
		}
	})
	if old == nil {
		return nil
	}
	return s.awaitDrained(ctx, old)
}

// awaitReady waits for a candidate; one that nobody waits for any more is let go, by letGo in run.
func (s *supervisor) awaitReady(ctx context.Context, fresh *worker, letGo func(*worker)) error {
	select {
	case err := <-fresh.settled:
		return err
	case <-s.done:
		return ErrStopping
	case <-ctx.Done():
		late := true
		s.do(func() {
			if late = fresh.part == candidate; late {
				letGo(fresh)
			}
		})
		if !late {
			return <-fresh.settled // it has just become ready, or died
		}
		return fmt.Errorf("%v was not ready: %w", fresh, ctx.Err())
	}
}

// abandon lets a candidate go. If the worker that it was to replace has died meanwhile, the slot is filled again.
func (s *supervisor) abandon(w *worker) {
	s.retire(w)
	if s.occupantOf(w.slot) == nil && !w.slot.closed {
		w.slot.next = time.Now()
	}
}

func (s *supervisor) awaitDrained(ctx context.Context, old *worker) error {
	select {
	case <-old.drained:
		return nil
	case <-s.done:
		return ErrStopping
	case <-ctx.Done():
		return fmt.Errorf("%v is replaced, and still drains: %w", old, ctx.Err())
	}
}
