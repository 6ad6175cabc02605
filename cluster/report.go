package cluster

import (
	"cmp"
	"os"
	"slices"
)

// Status returns what the master knows of the cluster now. In a worker it has no nodes but this one.
func (n *Node) Status() Status {
	self := n.links.mesh.Self()
	out := Status{
		Version: StatusVersion, Cluster: self.Cluster, PID: os.Getpid(), Address: n.Addr().String(), Nodes: []NodeStatus{},
	}
	conns, requests := n.servers.Load()
	own := NodeStatus{
		ID: self.ID, Slot: self.Slot, Generation: self.Generation, PID: os.Getpid(), State: StateReady,
		Master: n.IsMaster(), Accepts: n.accepts.Load(), Connections: conns, Requests: requests,
	}
	if n.master == nil {
		out.Nodes = append(out.Nodes, own)
		return out
	}
	m := n.master
	steering, drawing := m.steering.status(n.key)
	main := n.key
	if g := m.steering.mainGroup(n.key); g != nil {
		main, out.Address = g.key, g.address
	}
	out.Steering, out.Since, out.Directory = steering, m.since, m.directory.Path()
	own.Since = m.since
	for _, one := range n.seats.all() {
		if one.key == n.key {
			own.Queue, own.QueueLimit = one.queue()
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
		out.Nodes[i].Weight = drawing.weight[out.Nodes[i].ID]
	}
	slices.SortFunc(out.Nodes, func(a, b NodeStatus) int { return cmp.Or(a.Slot-b.Slot, a.ID-b.ID) })
	return out
}

// status returns all workers, and the slots that wait for one.
func (s *supervisor) status(main portKey) (all []NodeStatus) {
	for _, w := range s.workers {
		all = append(all, w.status(main))
	}
	for _, slot := range s.slots {
		if !slot.next.IsZero() && s.occupantOf(slot) == nil {
			state := StateWaiting
			if slot.looping {
				state = StateLooping
			}
			all = append(all, NodeStatus{
				ID: -1, Slot: slot.number, Generation: slot.generation, State: state, Since: slot.diedAt,
				Restarts: slot.restarts, LastExit: slot.lastExit,
			})
		}
	}
	return all
}

func (w *worker) status(main portKey) NodeStatus {
	out := NodeStatus{
		ID: w.info.ID, Slot: w.info.Slot, Generation: w.info.Generation, PID: w.info.PID, State: w.state(), Since: w.since,
		Restarts: w.slot.restarts, LastExit: w.slot.lastExit, Connections: w.load.Conns, Requests: w.load.Requests,
		Accepts: w.wasReady() && !isClosed(w.drained),
	}
	for _, seat := range w.load.Seats {
		if seat.Port == main {
			out.Queue, out.QueueLimit = seat.Queue, seat.Limit
		}
	}
	for _, seat := range w.seats {
		if seat.group.key == main {
			out.Queue, out.QueueLimit = seat.queue()
		}
	}
	return out
}

func (w *worker) state() State {
	switch {
	case w.phase >= dumping:
		return StateHung
	case w.phase == stopping:
		return StateDraining
	case w.phase == starting:
		return StateStarting
	case w.suspect:
		return StateSuspect
	default:
		return StateReady
	}
}

// stopSoon begins the stop.
func (n *Node) stopSoon() { n.stop(nil, n.opts.StopTimeout) }

// watch returns the events since that of Seq after, and those to come.
func (n *Node) watch(after int) (past []Event, next <-chan Event, cancel func()) {
	return n.master.journal.Watch(after)
}
