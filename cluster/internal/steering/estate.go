package steering

import (
	"context"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// estates lets the listeners of nodes that have died leave the group, one after the other.
type estates struct {
	*reconciler
	begun map[*member]bool // belongs to the turn
}

// find returns the members that are to leave, each of them once.
func (e *estates) find(ctx context.Context) (dead []*member) {
	if e.env.lent == nil || e.take(ctx) != nil {
		return nil
	}
	defer e.give()
	for _, m := range e.nodes.Members() {
		if m.Node != nil && m.Node.dead.Load() && !e.begun[m] {
			link := e.env.lent.Estate(m.Inode)
			m.Node.link.Store(&link)
			e.begun[m] = true
			dead = append(dead, m)
		}
	}
	for m := range e.begun {
		if !slices.Contains(e.nodes.Members(), m) {
			delete(e.begun, m)
		}
	}
	return dead
}

// estateInterval is the time between two attempts to let the listener of a dead node leave.
const estateInterval = 20 * time.Millisecond

// settleEstates begins to let the listeners of nodes that have died leave the group. What is in their queues is accepted by other
// nodes, so it takes the time that it takes, and nothing waits for it.
func (g *group) settleEstates(ctx context.Context) {
	for _, m := range g.estates.find(ctx) {
		g.env.lent.Rescue(m.Inode)
		a := m.Node
		g.env.Go(func() { // ends with ctx, or when the listener has left
			if err := g.letGo(g.env.ctx, a, m.Inode); err != nil && g.env.ctx.Err() == nil {
				g.env.logger.Warn("the listener of a dead node stays in its group, and other nodes accept from its queue",
					"id", a.id, "address", g.address, "error", err)
			}
		})
	}
}

// letGo lets a listener of a dead node leave, without losing a connection. It waits for another node that accepts.
func (g *group) letGo(ctx context.Context, a *agent, inode uint32) error {
	for {
		epoch, later, err := g.exclude(ctx, a)
		if err != nil {
			return err
		}
		if epoch == 0 && (later || g.level >= reuseport.RungBPF || !g.hasOther(ctx, a)) {
			select {
			case <-time.After(estateInterval):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := g.env.lent.Empty(ctx, inode, epoch == 0); err != nil {
			return err
		}
		if again, err := g.leave(ctx, a, epoch); err != nil || !again {
			return err
		}
	}
}

// hasOther reports whether another node than a has a listener and is ready.
func (g *group) hasOther(ctx context.Context, a *agent) bool {
	if g.take(ctx) != nil {
		return false
	}
	defer g.give()
	return slices.ContainsFunc(g.nodes.Members(), func(m *member) bool { return m.Node != a && m.Health() == portgroup.Healthy })
}
