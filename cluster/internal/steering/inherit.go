package steering

import (
	"context"
	"maps"
	"slices"

	"github.com/multinode-go/multinode/cluster/internal/protocol"
)

// Inherit takes note of the ports and listeners that a node has from the time of another master, and closes done.
func (s *Steering) Inherit(id int, listeners []protocol.Listener, done chan<- struct{}) {
	p, err := s.party(id)
	if err != nil {
		return
	}
	s.running.Go(func() { // ends with ctx
		for _, one := range listeners {
			s.inherit(p, one)
		}
		if len(listeners) > 0 {
			s.kick()
		}
		if done != nil {
			close(done)
		}
	})
}

func (s *Steering) inherit(p *party, one protocol.Listener) {
	g, err := s.groupBy(s.ctx, one.Port, func() (Reservation, error) {
		return s.kernel.Rejoin(s.ctx, one.Port.Network, one.Address)
	})
	if err != nil {
		s.logger.Warn("a port of an adopted node cannot be kept", "id", p.id, "address", one.Address, "error", err)
		return
	}
	if one.Inode != 0 {
		g.adopt(s.ctx, p, one.Inode, one.Snapshot)
	}
}

// Precede tells which node was the master before us, and may still be there.
func (s *Steering) Precede(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elder = id
}

// Ports returns all ports that are held.
func (s *Steering) Ports() (held []protocol.Listener) {
	for _, g := range s.all() {
		held = append(held, protocol.Listener{Port: g.key, Address: g.address})
	}
	return held
}

// Hold takes the turn at all groups, also at those that are to come, until release: the port is another master's.
func (s *Steering) Hold(ctx context.Context) error {
	s.mu.Lock()
	s.holds = true
	groups := slices.Collect(maps.Values(s.groups))
	s.mu.Unlock()
	for _, g := range groups {
		if err := g.take(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		s.held = append(s.held, g)
		s.mu.Unlock()
	}
	return nil
}

// Release gives all turns back, also after a hold that has failed. What was known of a group that was held is in doubt.
func (s *Steering) Release() {
	s.mu.Lock()
	held := s.held
	s.holds, s.held = false, nil
	s.mu.Unlock()
	for _, g := range held {
		g.nodes.Untell()
		g.doubt()
		g.give()
	}
	s.kick()
}
