package steering

import (
	"context"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
)

// steererOf answers the requests of one node.
type steererOf struct {
	steering *Steering
	id       int  // of the node
	remote   bool // it asks over a control stream
}

var _ protocol.Steerer = steererOf{}

// Steerer returns a node's access to its master. A remote node asks over a control stream: when another master has the ports, it gets
// no answer before that stream ends, and asks the other master.
func (s *Steering) Steerer(id int, remote bool) protocol.Steerer { return steererOf{s, id, remote} }

// Own returns that of the master's own node.
func (s *Steering) Own() protocol.Steerer { return steererOf{steering: s, id: s.self} }

func (s steererOf) group(ctx context.Context, port portgroup.Key) (*group, *agent, error) {
	select {
	case <-s.steering.inherited:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	a, err := s.steering.get(s.id)
	if err != nil {
		return nil, nil, err
	}
	g, err := s.steering.group(ctx, port)
	return g, a, err
}

// answered returns err, unless another master has the port by now: a remote node asks that one when this stream ends.
func (s steererOf) answered(ctx context.Context, err error) error {
	if s.remote && s.steering.ctx.Err() != nil {
		<-ctx.Done()
	}
	return err
}

// Reserve reserves a port, and returns its address.
func (s steererOf) Reserve(ctx context.Context, port portgroup.Key) (address string, err error) {
	g, _, err := s.group(ctx, port)
	if err == nil {
		address = g.address
	}
	return address, s.answered(ctx, err)
}

// Join adds the node to a group.
func (s steererOf) Join(ctx context.Context, port portgroup.Key) error {
	g, a, err := s.group(ctx, port)
	if err == nil {
		err = g.join(ctx, a)
	}
	return s.answered(ctx, err)
}

// Exclude steers new connections away from the node.
func (s steererOf) Exclude(ctx context.Context, port portgroup.Key) (epoch int, later bool, err error) {
	g, a, err := s.group(ctx, port)
	if err == nil {
		epoch, later, err = g.exclude(ctx, a)
	}
	return epoch, later, s.answered(ctx, err)
}

// Leave removes the node from a group.
func (s steererOf) Leave(ctx context.Context, port portgroup.Key, epoch int) (again bool, err error) {
	g, a, err := s.group(ctx, port)
	if err == nil {
		again, err = g.leave(ctx, a, epoch)
	}
	return again, s.answered(ctx, err)
}
