package master

import (
	"context"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/supervise"
)

// supervised is the master as its supervisor sees it.
type supervised struct{ *Master }

var _ supervise.Master = supervised{}

// LeavePorts ends the part of the master that serves, which only supervises from then on.
func (s supervised) LeavePorts(left func()) {
	n, self, begin := s.node, s.links.Mesh.Self(), time.Now()
	s.journal.Emit(control.Event{Kind: control.EventDraining, ID: self.ID, PID: self.PID})
	n.Supervise()
	n.MarkServing()
	go func() { // ends within StopTimeout; the node's end waits for it
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Node.StopTimeout)
		defer cancel()
		if err := n.EndServers(ctx, s.cfg.Node.LameDuck); err != nil {
			s.cfg.Node.Logger.Warn("requests of the master were cut when it handed over to a worker", "error", err)
		}
	}()
	go func() { // ends with the drain, or the node
		select {
		case <-n.HasLeft():
		case <-n.Done():
		}
		s.journal.Emit(control.Event{Kind: control.EventDrained, ID: self.ID, PID: self.PID, Took: time.Since(begin)})
		left()
	}()
}

// Reloading informs the service manager that a reload begins, or has ended.
func (s supervised) Reloading(is bool, nodes int) {
	if is {
		s.manager.tell(s.manager.notifier.Reloading())
		return
	}
	s.manager.tell(s.manager.notifier.Ready(s.summary(nodes)))
}

// Scaled informs the service manager of the number of nodes.
func (s supervised) Scaled(nodes int) { s.manager.tell(s.manager.notifier.Status(s.summary(nodes))) }

// Stop begins the stop of the cluster.
func (s supervised) Stop() { s.Control().Stop() }
