package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// drawing is what Status shows of a group.
type drawing struct {
	certain   bool
	members   int
	mute      bool            // there is a member that does not talk to us
	obstacle  string          // why the group is not steered; "": it is
	contested bool            // another process replaces the program that steers
	asking    time.Time       // since when the kernel is asked; zero: it is not
	weight    map[int]float64 // by id, in percent
	strangers []control.Stranger
}

// doubt says that the order may be wrong, and that a node that is excluded may have got connections.
func (g *group) doubt() {
	g.unknown = true
	g.epoch++
	g.shifts++
	g.watch.member = nil // whatever program is attached
}

// settle makes the picture agree with the kernel's list of listeners, and steers accordingly. It asks nothing, so that
// there may be holes in the picture: these get no connections while most is known, and else the hash decides.
func (g *group) settle(ctx context.Context) error {
	listed, err := g.list(ctx)
	if err != nil {
		g.steering.logger.Warn("the listeners of the port cannot be listed: the kernel's hash decides",
			"address", g.address, "error", err)
		g.doubt()
	} else {
		g.reconcile(ctx, listed)
	}
	err = errline.Join(err, g.publish(ctx))
	g.complain(ctx, &g.complaint, err)
	g.entrust()
	g.draw()
	return err
}

// certain tells whether all that can be known of the order is known.
func (g *group) certain() bool {
	return g.rung < reuseport.RungBPF || !g.unknown && !slices.ContainsFunc(g.seen, g.isLost)
}

// isLost tells whether a node that could tell where it sits has no place in the order.
func (g *group) isLost(m *member) bool {
	return m.party != nil && !m.suspect.Load() && g.order.Index(m) < 0
}

// complain says in the log that connections cannot be steered, once for each reason. What it has said last is in last.
func (g *group) complain(ctx context.Context, last *string, err error) {
	if ctx.Err() != nil || err != nil && g.steering.program != nil && g.isPassing(err) {
		return
	}
	var complaint string
	if err != nil {
		complaint = err.Error()
	}
	if complaint != "" && complaint != *last {
		g.steering.logger.Warn("connections cannot be steered: the kernel's hash decides", "address", g.address, "error", err)
	}
	*last = complaint
}

// isPassing tells whether the listeners of a program cannot be steered since they come or go in this moment. What cannot be
// steered in the long run has an obstacle.
func (g *group) isPassing(err error) bool {
	return errors.Is(err, errUnlinked) || errors.Is(err, os.ErrNotExist) || len(g.callable()) == 0
}

// target returns the address that questions go to.
func (g *group) target() (*net.TCPAddr, error) { return net.ResolveTCPAddr(g.key.Network, g.address) }

// listed returns the inodes of the kernel's list.
func (g *group) listed(ctx context.Context) ([]uint32, error) {
	listeners, err := reuseport.Listeners(ctx, g.key.Network, g.address)
	if err != nil {
		return nil, err
	}
	var inodes []uint32
	for _, l := range listeners {
		inodes = append(inodes, l.Inode)
	}
	return inodes, nil
}

// reconcile makes the members those that the kernel lists. Of those that came and went by themselves since the last look
// the order is not known: where it matters, there are holes then.
func (g *group) reconcile(ctx context.Context, listed []uint32) {
	var others []change
	for _, m := range slices.Clone(g.seen) {
		if !slices.Contains(listed, m.inode) {
			others = append(others, change{m, false})
			g.drop(m)
		}
	}
	if len(others) > 0 {
		g.notice(others)
		g.wake(ctx)
	}
	for _, inode := range listed {
		if !slices.ContainsFunc(g.seen, func(m *member) bool { return m.inode == inode }) {
			m := &member{inode: inode, unmet: 1}
			g.seen = append(g.seen, m)
			others = append(others, change{m, true})
		}
	}
	switch {
	case g.unknown && g.told != nil:
		g.recall()
	case g.unknown:
		g.scatter()
	default:
		g.redraw(others)
	}
	if g.order.Len() != len(g.seen) {
		g.scatter()
	}
	g.deduce()
	if g.certain() {
		g.told = nil // what we know is newer
	}
	g.looked = true
}

// notice takes note of members that left by themselves. Each index that one of them had gets the last member. That breaks
// no exclusion if neither those indexes nor the last ones, which are beyond the group now, get any connections.
func (g *group) notice(left []change) {
	g.shifts++
	share := func(index int) bool { return index < 0 || index < len(g.published) && g.published[index] > 0 }
	gets := g.published == nil
	for i, c := range left {
		gets = gets || share(g.order.Index(c.member)) || share(max(0, g.order.Len()-1-i))
		if c.unmet > 0 {
			g.steering.sightings.vanished(g.address)
		}
	}
	if gets {
		g.epoch++
	}
}

// scatter says that nothing is known of the order.
func (g *group) scatter() {
	var holes []*member
	for range g.seen {
		holes = append(holes, newHole())
	}
	g.order = reuseport.NewOrder(holes...)
	g.base, g.since, g.unknown = holes, nil, false
	g.shifts++
	g.epoch++
}

// place fills a hole.
func (g *group) place(hole, m *member) {
	if g.order.Index(m) >= 0 {
		g.scatter() // somebody has answered for two: the group was another one for a moment
		return
	}
	members := g.order.Members()
	members[g.order.Index(hole)] = m
	g.order = reuseport.NewOrder(members...)
	g.base = members
}

// deduce fills the last hole: the one member that has no place sits there. Several holes are strangers', if all that have no
// place are.
func (g *group) deduce() {
	missing, holes := g.missing(), g.holes()
	switch {
	case len(missing) == 1 && len(holes) == 1:
		g.place(holes[0], missing[0])
	case slices.ContainsFunc(missing, func(m *member) bool { return !m.foreign }):
		for _, hole := range holes {
			hole.foreign = false
		}
	default:
		for _, hole := range holes {
			hole.foreign = true
		}
	}
}

// missing returns the members of which it is not known where they are.
func (g *group) missing() (missing []*member) {
	for _, m := range g.seen {
		if g.order.Index(m) < 0 {
			missing = append(missing, m)
		}
	}
	return missing
}

func (g *group) holes() (holes []*member) {
	return slices.DeleteFunc(g.order.Members(), func(m *member) bool { return !m.hole })
}

// draw remembers the picture for Status.
func (g *group) draw() {
	d := drawing{
		certain: g.certain() && !g.watch.contested, contested: g.watch.contested,
		members: len(g.seen), obstacle: g.obstacle, weight: make(map[int]float64),
	}
	for _, m := range g.seen {
		d.mute = d.mute || m.party != nil && m.mute
		if g.published != nil && m.party != nil && !d.contested {
			d.weight[m.id] = percent(g.published, g.order.Index(m))
		}
	}
	var there []*sighting
	for _, m := range g.seen {
		if m.foreign {
			there = append(there, m.sighting)
		}
	}
	d.strangers = g.steering.sightings.of(g.address, there)
	g.mu.Lock()
	defer g.mu.Unlock()
	d.asking = g.drawing.asking
	g.drawing = d
}

// tellAsking remembers for Status since when the kernel is asked.
func (g *group) tellAsking(since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drawing.asking = since
}

func (g *group) drawn() drawing {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.drawing
}
