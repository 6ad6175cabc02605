package steering

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// group is the group of one port: agents join and leave it, and looks keep its map right.
//
// Joins, leaves and looks take turns, so that their order is known to the map. The kernel is asked about the holes of the
// map, by one look at a time, which does not hold the turn while it waits for an answer.
type group struct {
	*reconciler
	reservation kernel.Reservation // nil: of programs that listen by themselves
	looks       turn               // of looks; taken before the turn of the group
	watch       watch
	resolver    resolver
	estates     estates
}

// newGroup makes the group of a port that is reserved, or on which programs listen that do not ask us for it.
func newGroup(key portgroup.Key, reservation kernel.Reservation, env *environment) *group {
	address := key.Address
	if reservation != nil {
		address = reservation.Addr().String()
	}
	r := newReconciler(key, address, env)
	return &group{
		reconciler: r, reservation: reservation, looks: newTurn(address, env.ctx.Done()),
		watch: watch{reconciler: r, talks: reservation != nil}, resolver: resolver{reconciler: r},
		estates: estates{r, make(map[*member]bool)},
	}
}

func (g *group) status() groupStatus { return g.shown.get() }

// join adds a node to the group: it asks the node to listen. The new member is the last of the group, so its index needs no
// probe.
func (g *group) join(ctx context.Context, a *agent) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	var inode uint32
	err := a.call(ctx, func(ctx context.Context, link portgroup.Agent) (err error) {
		inode, err = link.Open(ctx, g.key, g.address)
		return err
	})
	if err != nil {
		g.env.kick() // the node may listen all the same
		return err
	}
	if m := g.nodes.ByInode(inode); m != nil { // it listens already: it has not left, or asks again as it got no answer
		g.nodes.Adopt(a, inode)
		delete(g.strangers.met, m)
		m.Leaving = false
	} else {
		g.nodes.Join(&member{Node: a, Inode: inode})
	}
	_ = g.settle(ctx) // which complains
	if !g.certain() {
		g.env.kick()
	}
	return nil
}

// exclude steers new connections away from a node, and returns the epoch for leave. An epoch of 0 says that the node may still
// get connections; later says that a later attempt may succeed.
func (g *group) exclude(ctx context.Context, a *agent) (epoch int, later bool, err error) {
	if err := g.take(ctx); err != nil {
		return 0, false, err
	}
	defer g.give()
	m := g.nodes.Of(a)
	if m == nil {
		return 0, false, g.notHere(a)
	}
	m.Leaving = true
	err = g.settle(ctx)
	switch {
	case g.level < reuseport.RungBPF:
		return 0, false, nil // most are elsewhere
	case err == nil && g.excludes(m):
		return g.nodes.Epoch(), false, nil
	case err == nil && g.certain() && !g.contest.on:
		return 0, false, nil // no other node is there
	default:
		g.env.kick()
		return 0, true, nil
	}
}

// leave removes a drained node from the group if its exclusion has held since epoch. It returns true when the node is to be
// excluded again, as it may have got connections meanwhile.
func (g *group) leave(ctx context.Context, a *agent, epoch int) (again bool, err error) {
	if err := g.take(ctx); err != nil {
		return false, err
	}
	defer g.give()
	m := g.nodes.Of(a)
	switch {
	case m == nil && epoch == 0: // its listener is hidden, and so the kernel lists it no more
		return false, a.shut(ctx, g.key)
	case m == nil:
		return false, g.notHere(a)
	}
	if epoch != 0 {
		if err := g.settle(ctx); err != nil || !g.excludes(m) || g.nodes.Epoch() != epoch {
			return true, nil
		}
	}
	// The last member moves to the index of m, with its connections, and may be excluded itself.
	safe := g.makeRoom(ctx) && (g.excludes(m) || g.level < reuseport.RungBPF)
	if err := a.shut(ctx, g.key); err != nil {
		g.doubt()
		return false, err
	}
	g.nodes.Leave(m)
	if !safe {
		g.nodes.Leak()
	}
	_ = g.settle(ctx) // which complains
	g.wake(ctx)
	return false, nil
}

func (g *group) notHere(a *agent) error {
	return fmt.Errorf("node %d does not listen on %s: %w", a.id, g.address, net.ErrClosed)
}

// look compares the map with the kernel's list, and probes the indexes that are not known. One look runs at a time.
func (g *group) look(ctx context.Context) {
	if g.looks.take(ctx) != nil {
		return
	}
	defer g.looks.give()
	g.watch.verify(ctx)
	steered := g.review(ctx)
	found := g.strangers.meet(ctx)
	g.watch.accuse(ctx)
	g.settleEstates(ctx)
	asked := g.resolver.resolve(ctx)
	if found || asked {
		steered = g.review(ctx)
	}
	if steered {
		g.reorder(ctx)
	}
}

// changed reports whether the kernel's list differs from the members, or something is to be found out.
func (g *group) changed(ctx context.Context) bool {
	if !g.try() {
		return false // another goroutine is at it
	}
	defer g.give()
	listed, err := g.listed(ctx)
	return err != nil || len(listed) != len(g.nodes.Members()) ||
		slices.ContainsFunc(g.nodes.Members(), func(m *member) bool { return m.Unmet > 0 || !slices.Contains(listed, m.Inode) }) ||
		g.watch.due(time.Now()) || g.env.sightings.Hunting(g.address)
}

// adopt notes a listener that is in the group already, and the snapshot of another master.
func (g *group) adopt(ctx context.Context, a *agent, inode uint32, told *portgroup.Snapshot) {
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	if told != nil {
		g.nodes.Tell(told)
	}
	g.nodes.Adopt(a, inode)
	delete(g.strangers.met, g.nodes.Of(a))
	g.consider()
}

// close releases the port.
func (g *group) close() (err error) {
	if g.reservation != nil {
		err = g.reservation.Close()
	}
	if g.sink != nil {
		err = errline.Join(err, g.sink.Close())
	}
	return errline.Join(err, g.sentinel.close())
}
