package steering

import (
	"cmp"
	"context"
	"slices"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/sightings"
	"github.com/multinode-go/multinode/reuseport"
)

// looksToFind is how often a listener that no process holds is looked at until it is a stranger's: the kernel may be closing it.
const looksToFind = 3

// strangers are the members of a group whose processes are no nodes.
type strangers struct {
	turn  turn // of the group
	port  *port
	nodes *portgroup.Map[*agent]
	env   *environment
	met   map[*member]*sightings.Sighting // those of which it is known which ones; it belongs to the turn
}

// meet looks for the processes of listeners that no node has reported: strangers, or workers that are being adopted. It scans all
// processes, and nothing waits for that.
func (s *strangers) meet(ctx context.Context) (found bool) {
	s.hunt(ctx)
	if !s.hasUnmet(ctx) {
		return false
	}
	owners, err := s.port.owners(ctx)
	if err != nil || s.turn.take(ctx) != nil {
		return false
	}
	defer s.turn.give()
	for _, m := range s.nodes.Members() {
		if m.Unmet == 0 {
			continue
		}
		a, other, watched := s.owner(owners, m)
		other.Address = cmp.Or(other.Address, s.port.address)
		switch {
		case a != nil:
			m.Node, m.Unmet, found = a, 0, true
		case m.Unmet < looksToFind && (watched || other.PID == 0):
			m.Unmet++
		case watched: // the nodes that watch it would have reported it if they knew its node
			m.Node, m.Unmet, found = newHeirless(unknownID), 0, true
		default:
			m.Foreign, m.Unmet, found = true, 0, true
			s.met[m] = s.env.sightings.Add(other)
		}
	}
	return found
}

// unknownID is the id of a node that has died before this master knew it.
const unknownID = -1

// owner returns the node that has a listener, or else another process that has it. Nodes have listeners of others, too, that they
// watch: watched says that only such nodes have it.
func (s *strangers) owner(owners []reuseport.Owner, m *member) (a *agent, other control.Stranger, watched bool) {
	if s.env.lent != nil {
		if id, ok := s.env.lent.Owner(m.Inode); ok {
			if a, err := s.env.get(id); err == nil {
				return a, other, false
			}
			return newHeirless(id), other, false
		}
	}
	nodes, other := s.env.holders(owners, m.Inode)
	for _, a := range nodes {
		if a.id != s.env.self && (s.env.lent == nil || !s.env.lent.Shares(a.id)) { // the master may have borrowed it in this moment
			return a, other, false
		}
	}
	return nil, other, s.env.lent != nil && len(nodes) > 0
}

// hunt looks for a process that appears and vanishes faster than meet can see it.
func (s *strangers) hunt(ctx context.Context) {
	p, book := s.port, s.env.sightings
	if !book.Hunting(p.address) {
		return
	}
	isNode := func(pid int) bool { return s.env.ofProcess(pid) != nil }
	o, ok, err := p.kernel.Visitor(ctx, p.key.Network, p.address, isNode)
	if err == nil {
		book.Caught(p.address, control.Stranger{PID: o.PID, Program: o.Program}, ok)
	}
}

// hasUnmet reports whether the process of a member is not known.
func (s *strangers) hasUnmet(ctx context.Context) bool {
	if s.turn.take(ctx) != nil {
		return false
	}
	defer s.turn.give()
	return slices.ContainsFunc(s.nodes.Members(), func(m *member) bool { return m.Unmet > 0 })
}

// suspects returns the stranger that is in the group, if there is one only.
func (s *strangers) suspects() []control.Stranger {
	all := slices.DeleteFunc(slices.Clone(s.nodes.Members()), func(m *member) bool { return !m.Foreign || s.met[m] == nil })
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
			s.env.sightings.Vanished(s.port.address)
		}
	}
}

// listed returns the strangers for Status: those that are present, and those that appear and vanish.
func (s *strangers) listed() []control.Stranger {
	var there []*sightings.Sighting
	for _, m := range s.nodes.Members() {
		if m.Foreign {
			there = append(there, s.met[m])
		}
	}
	return s.env.sightings.Of(s.port.address, there)
}
