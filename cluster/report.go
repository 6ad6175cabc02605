package cluster

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// Status returns what the master knows of the cluster now. In a worker it has no nodes but this one.
func (n *Node) Status() control.Status {
	self := n.links.mesh.Self()
	out := control.Status{
		Version: control.StatusVersion, Cluster: self.Cluster, PID: os.Getpid(), Address: n.Addr().String(), Nodes: []control.NodeStatus{},
	}
	conns, requests := n.servers.Load()
	own := control.NodeStatus{
		ID: self.ID, Slot: self.Slot, Generation: self.Generation, PID: os.Getpid(), State: control.StateReady,
		Master: n.IsMaster(), Accepts: n.accepts.Load(), Connections: conns, Requests: requests,
	}
	if n.master == nil {
		out.Nodes = append(out.Nodes, own)
		return out
	}
	m := n.master
	steering, shown := m.steering.status(n.key)
	main := n.key
	if g := m.steering.mainGroup(n.key); g != nil {
		main, out.Address = g.key, g.address
	}
	out.Steering, out.Since, out.Directory = steering, m.since, m.directory.Path()
	own.Since = m.since
	for _, one := range n.listeners.All() {
		if one.Key == n.key {
			own.Queue, own.QueueLimit = one.Queue()
		}
	}
	out.Nodes = append(out.Nodes, own)
	m.supervisor.do(func() {
		out.Doing = m.supervisor.doing
		if m.supervisor.stopping || n.isStopping() {
			out.Doing = "stop"
		}
		out.Wanted = len(m.supervisor.slots)
		out.Nodes = append(out.Nodes, m.supervisor.status(main)...)
	})
	if n.accepts.Load() {
		out.Wanted++
	}
	for i := range out.Nodes {
		out.Nodes[i].Weight = shown.weight[out.Nodes[i].ID]
	}
	slices.SortFunc(out.Nodes, func(a, b control.NodeStatus) int { return cmp.Or(a.Slot-b.Slot, a.ID-b.ID) })
	return out
}

// status returns all workers, and the slots that wait for one.
func (s *supervisor) status(main portKey) (all []control.NodeStatus) {
	for _, w := range s.workers {
		all = append(all, w.status(main))
	}
	for _, slot := range s.slots {
		if !slot.next.IsZero() && s.occupantOf(slot) == nil {
			state := control.StateWaiting
			if slot.looping {
				state = control.StateLooping
			}
			all = append(all, control.NodeStatus{
				ID: -1, Slot: slot.number, Generation: slot.generation, State: state, Since: slot.diedAt,
				Restarts: slot.restarts, LastExit: slot.lastExit,
			})
		}
	}
	return all
}

func (w *worker) status(main portKey) control.NodeStatus {
	out := control.NodeStatus{
		ID: w.info.ID, Slot: w.info.Slot, Generation: w.info.Generation, PID: w.info.PID, State: w.state(), Since: w.since,
		Restarts: w.slot.restarts, LastExit: w.slot.lastExit, Connections: w.load.Connections, Requests: w.load.Requests,
		Accepts: w.wasReady() && !isClosed(w.drained),
	}
	for _, q := range w.load.Queues {
		if q.Port == main {
			out.Queue, out.QueueLimit = q.Length, q.Limit
		}
	}
	for _, one := range w.foreign {
		if one.group.key == main {
			out.Queue, out.QueueLimit = one.queue()
		}
	}
	return out
}

func (w *worker) state() control.State {
	switch {
	case w.phase >= dumping:
		return control.StateHung
	case w.phase == stopping:
		return control.StateDraining
	case w.phase == starting:
		return control.StateStarting
	case w.suspect:
		return control.StateSuspect
	default:
		return control.StateReady
	}
}

// controlled is a master as its control API sees it.
type controlled struct{ *Node }

// Stop begins the stop.
func (c controlled) Stop() { c.stop(nil, c.opts.StopTimeout) }

// Watch returns the events since that of Seq after, and those to come.
func (c controlled) Watch(after int) (past []control.Event, next <-chan control.Event, cancel func()) {
	return c.master.journal.Watch(after)
}

// stamp returns an event of the journal with its number and its time.
func stamp(e control.Event, seq int, now time.Time) control.Event {
	e.Seq, e.Time = seq, now
	return e
}
