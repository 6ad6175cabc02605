package steering

import (
	"context"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
)

// Inherit notes the ports and listeners that a node has from a previous master, and closes done.
func (s *Steering) Inherit(id int, listeners []protocol.Listener, done chan<- struct{}) {
	a, err := s.get(id)
	if err != nil {
		return
	}
	s.Go(func() { // ends with ctx
		for _, one := range listeners {
			s.inherit(a, one)
		}
		if len(listeners) > 0 {
			s.kick()
		}
		if done != nil {
			close(done)
		}
	})
}

func (s *Steering) inherit(a *agent, one protocol.Listener) {
	g, err := s.groupBy(s.ctx, one.Port, func() (kernel.Reservation, error) {
		return s.kernel.Rejoin(s.ctx, one.Port.Network, one.Address)
	})
	if err != nil {
		s.logger.Warn("a port of an adopted node cannot be kept", "id", a.id, "address", one.Address, "error", err)
		return
	}
	if one.Inode != 0 {
		g.adopt(s.ctx, a, one.Inode, one.Snapshot)
	}
}

// Ports returns all ports that are held.
func (s *Steering) Ports() (held []protocol.Listener) {
	for _, g := range s.groups.all() {
		held = append(held, protocol.Listener{Port: g.key, Address: g.address})
	}
	return held
}

// Hold takes the turn of all groups, present and future, until Release: another master has the ports.
func (s *Steering) Hold(ctx context.Context) error { return s.groups.hold(ctx) }

// Release gives all turns back, also after a Hold that has failed.
func (s *Steering) Release() {
	s.groups.release()
	s.kick()
}
