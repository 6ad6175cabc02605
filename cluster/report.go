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
	steering, weights := m.steering.Status(n.key)
	if _, address, ok := m.steering.Main(n.key); ok {
		out.Address = address
	}
	out.Steering, out.Since, out.Directory = steering, m.since, m.directory.Path()
	own.Since = m.since
	for _, one := range n.listeners.All() {
		if one.Key == n.key {
			own.Queue, own.QueueLimit = one.Queue()
		}
	}
	out.Nodes = append(out.Nodes, own)
	if state, ok := m.supervisor.State(); ok {
		out.Wanted = state.Nodes
		out.Nodes = append(out.Nodes, state.Workers...)
		out.Doing = state.Doing
	}
	if n.isStopping() {
		out.Doing = "stop"
	}
	for i := range out.Nodes {
		out.Nodes[i].Weight = weights[out.Nodes[i].ID]
	}
	slices.SortFunc(out.Nodes, func(a, b control.NodeStatus) int { return cmp.Or(a.Slot-b.Slot, a.ID-b.ID) })
	return out
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
