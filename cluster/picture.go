package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// drawing is what Status shows of a group.
type drawing struct {
	certain   bool
	members   int
	mute      bool            // there is a member that does not talk to us
	obstacle  string          // why the group is not steered; "": it is
	weight    map[int]float64 // by id, in percent
	strangers []Stranger
}

// doubt says that the picture may be wrong, and that whoever is excluded may have got connections.
func (g *group) doubt() {
	g.certain = false
	g.epoch++
}

// settle makes the picture agree with the kernel's list of listeners, and steers accordingly. It returns whether new
// connections go where they are meant to.
func (g *group) settle(ctx context.Context) bool {
	for range maxLooks {
		listed, err := g.listed(ctx)
		if err != nil {
			g.steering.logger.Warn("the listeners of the port cannot be listed: the kernel's hash decides",
				"address", g.address, "error", err)
			g.doubt()
			break
		}
		g.reconcile(ctx, listed)
		if g.certain || g.rung < reuseport.RungBPF {
			break
		}
		g.identify(ctx, listed)
		g.presumed = nil
	}
	if g.rung < reuseport.RungBPF {
		g.certain = true // there is no picture to be wrong
	}
	if g.certain {
		g.told = nil // what we know is newer
	}
	err := g.publish(ctx)
	g.complain(ctx, err)
	g.entrust()
	g.draw()
	return err == nil && g.certain
}

// complain says in the log that connections cannot be steered, once for each reason.
func (g *group) complain(ctx context.Context, err error) {
	if ctx.Err() != nil || err != nil && g.steering.program != nil && g.isPassing(err) {
		return
	}
	var complaint string
	if err != nil {
		complaint = err.Error()
	}
	if complaint != "" && complaint != g.complaint {
		g.steering.logger.Warn("connections cannot be steered: the kernel's hash decides", "address", g.address, "error", err)
	}
	g.complaint = complaint
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
// the order is not known: where it matters, the picture is uncertain.
func (g *group) reconcile(ctx context.Context, listed []uint32) {
	known := make(map[uint32]bool)
	var others []change
	for _, m := range g.seen {
		known[m.inode] = true
		if !slices.Contains(listed, m.inode) {
			others = append(others, change{m, false})
		}
	}
	if len(others) > 0 {
		for _, c := range others {
			g.drop(c.member)
		}
		g.epoch++ // what has moved to a free index may have got connections
		g.wake(ctx)
	}
	sure := true // nobody is listed of whom we know nothing
	for _, inode := range listed {
		if known[inode] {
			continue
		}
		if m := g.meet(ctx, inode); m != nil {
			others = append(others, change{m, true})
		} else {
			sure = false
		}
	}
	if g.lost && slices.ContainsFunc(g.seen, g.isLost) {
		g.certain = false
	}
	switch {
	case g.certain:
		g.redraw(others)
	case sure && g.told != nil:
		g.recall()
	}
}

// isLost tells whether a node that could tell where it sits has no place in the order.
func (g *group) isLost(m *member) bool {
	return m.party != nil && !m.suspect.Load() && g.order.Index(m) < 0
}

// meet takes note of a listener that nobody has told us of, and returns it: a stranger's, or that of a worker which is
// being adopted. It returns nil where the picture is in doubt then.
func (g *group) meet(ctx context.Context, inode uint32) *member {
	p, found, err := g.steering.holder(ctx, g, inode)
	if err != nil || p == nil && found.PID == 0 && g.vanishes(ctx, inode) {
		g.doubt()
		return nil
	}
	if p == nil {
		g.steering.report(inode, found)
	}
	m := &member{party: p, inode: inode, foreign: p == nil}
	g.seen = append(g.seen, m)
	return m
}

// draw remembers the picture for Status.
func (g *group) draw() {
	d := drawing{certain: g.certain, members: len(g.seen), obstacle: g.obstacle, weight: make(map[int]float64)}
	for _, m := range g.seen {
		d.mute = d.mute || m.party != nil && m.mute
		switch {
		case m.foreign:
			d.strangers = append(d.strangers, g.steering.strangerOf(m.inode, g.address))
		case g.published != nil && m.party != nil:
			d.weight[m.id] = percent(g.published, g.order.Index(m))
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drawing = d
}

func (g *group) drawn() drawing {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.drawing
}

// vanishes tells whether a listener that no process holds goes at once: it is that of a process which is ending.
func (g *group) vanishes(ctx context.Context, inode uint32) bool {
	for end := time.Now().Add(dyingTime); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if listed, err := g.listed(ctx); err == nil && !slices.Contains(listed, inode) {
			return true
		}
	}
	return false
}
