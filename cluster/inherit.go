package cluster

import (
	"context"

	"github.com/multinode-go/multinode/reuseport"
)

// inheritAll takes note of the ports and listeners that a node has from the time of another master, and closes done.
func (s *steering) inheritAll(id int, seats []seatInfo, done chan<- struct{}) {
	p, err := s.party(id)
	if err != nil {
		return
	}
	s.running.Go(func() { // ends with ctx
		for _, seat := range seats {
			s.inherit(p, seat)
		}
		if len(seats) > 0 {
			s.kick()
		}
		if done != nil {
			close(done)
		}
	})
}

func (s *steering) inherit(p *party, seat seatInfo) {
	g, err := s.groupBy(seat.Port, func() (*reuseport.Reservation, error) {
		return reuseport.Rejoin(s.ctx, seat.Port.Network, seat.Address)
	})
	if err != nil {
		s.logger.Warn("a port of an adopted node cannot be kept", "id", p.id, "address", seat.Address, "error", err)
		return
	}
	if seat.Inode != 0 {
		g.adopt(s.ctx, p, seat.Inode, seat.Picture)
	}
}

// ports returns all ports that are held.
func (s *steering) ports() (held []seatInfo) {
	for _, g := range s.all() {
		held = append(held, seatInfo{Port: g.key, Address: g.address})
	}
	return held
}

// hold takes the turn at all groups, until release is called.
func (s *steering) hold(ctx context.Context) (release func(), err error) {
	var held []*group
	release = func() {
		for _, g := range held {
			g.give()
		}
	}
	for _, g := range s.all() {
		if err := g.take(ctx); err != nil {
			release()
			return nil, err
		}
		held = append(held, g)
	}
	return release, nil
}
