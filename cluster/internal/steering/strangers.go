package steering

import (
	"cmp"
	"context"
	"slices"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/sightings"
)

// strangers are the members of a group whose processes are no nodes.
type strangers struct {
	group *group
	met   map[*member]*sightings.Sighting // those of which it is known which ones; it belongs to the group's turn
}

// meet looks for the processes of listeners that no node has told us of: strangers, or workers that are being adopted. It looks
// into all processes, and nothing waits for that.
func (s *strangers) meet(ctx context.Context) (found bool) {
	s.hunt(ctx)
	if !s.hasUnmet(ctx) {
		return false
	}
	g := s.group
	owners, err := g.owners(ctx)
	if err != nil || g.take(ctx) != nil {
		return false
	}
	defer g.give()
	for _, m := range g.nodes.Members() {
		if m.Unmet == 0 {
			continue
		}
		a, other := g.steering.holder(owners, m.Inode)
		other.Address = cmp.Or(other.Address, g.address)
		switch {
		case a != nil:
			m.Node, m.Unmet, found = a, 0, true
		case other.PID != 0 || m.Unmet >= looksToFind:
			m.Foreign, m.Unmet, found = true, 0, true
			s.met[m] = g.steering.sightings.Add(other)
		default:
			m.Unmet++
		}
	}
	return found
}

// hunt looks for a process that comes and goes faster than meet can see it.
func (s *strangers) hunt(ctx context.Context) {
	g, book := s.group, s.group.steering.sightings
	if !book.Hunting(g.address) {
		return
	}
	isNode := func(pid int) bool { return g.steering.ofProcess(pid) != nil }
	o, ok, err := g.kernel.Visitor(ctx, g.key.Network, g.address, isNode)
	if err == nil {
		book.Caught(g.address, control.Stranger{PID: o.PID, Program: o.Program}, ok)
	}
}

// hasUnmet tells whether there are members whose process is not known.
func (s *strangers) hasUnmet(ctx context.Context) bool {
	if s.group.take(ctx) != nil {
		return false
	}
	defer s.group.give()
	return slices.ContainsFunc(s.group.nodes.Members(), func(m *member) bool { return m.Unmet > 0 })
}

// suspects returns the stranger that is in the group, if there is one only.
func (s *strangers) suspects() []control.Stranger {
	all := slices.DeleteFunc(slices.Clone(s.group.nodes.Members()), func(m *member) bool { return !m.Foreign || s.met[m] == nil })
	if len(all) != 1 {
		return nil
	}
	return []control.Stranger{s.met[all[0]].Stranger}
}

// gone forgets members that have left.
func (s *strangers) gone(members []*member) {
	for _, m := range members {
		delete(s.met, m)
		if m.Unmet > 0 {
			s.group.steering.sightings.Vanished(s.group.address)
		}
	}
}

// listed returns the strangers for Status: those that are there, and those that come and go.
func (s *strangers) listed() []control.Stranger {
	var there []*sightings.Sighting
	for _, m := range s.group.nodes.Members() {
		if m.Foreign {
			there = append(there, s.met[m])
		}
	}
	return s.group.steering.sightings.Of(s.group.address, there)
}
