package steering

import (
	"context"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// maxRejoins is how often members leave and join again for the sake of one stranger: a server that does not accept may never be.
const maxRejoins = 3

// reorder keeps strangers from the connections of members that die. A process that joins is the last of the group, and when a
// member dies, the kernel moves the last member to its index, with all new connections of that index, at once: before the master
// knows, or while there is none. So a node of ours leaves and joins again: the stranger moves to its index, which gets no
// connections then, and the last member is ours.
func (g *group) reorder(ctx context.Context) {
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	m := g.toReorder()
	if m == nil {
		return
	}
	if err := m.Node.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Rejoin(ctx, g.key) }); err != nil {
		g.env.logger.Debug("a node cannot join again behind a stranger", "id", m.Node.id, "address", g.address, "error", err)
	}
}

// toReorder returns the member to leave and join again, nil when there is nothing to do, or too few are well.
func (g *group) toReorder() (first *member) {
	members := g.nodes.Order()
	if g.level < reuseport.RungBPF || g.sink != nil || len(members) == 0 {
		return nil
	}
	last := members[len(members)-1]
	if !last.Foreign || last.Rejoins == maxRejoins || g.env.sightings.Flaps(g.strangers.met[last]) {
		return nil
	}
	others := 0
	for _, m := range members {
		switch {
		case m.Foreign:
		case m.Health() != portgroup.Healthy:
			return nil // it may be on its way already
		case m.Node.id == g.env.self || m.Node.link.Load() == nil:
			others++ // it cannot be asked to
		case first == nil:
			first = m
		default:
			others++
		}
	}
	if first == nil || others == 0 {
		return nil
	}
	last.Rejoins++
	return first
}
