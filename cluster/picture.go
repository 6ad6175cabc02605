package cluster

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// drawing is what Status shows of a group.
type drawing struct {
	certain   bool
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
	}
	if g.rung < reuseport.RungBPF {
		g.certain = true // there is no picture to be wrong
	}
	err := g.publish(ctx)
	g.complain(ctx, err)
	g.draw()
	return err == nil && g.certain
}

// complain says in the log that connections cannot be steered, once for each reason.
func (g *group) complain(ctx context.Context, err error) {
	if ctx.Err() != nil {
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

// reconcile makes the members those that the kernel lists. One that has died alone has left its index to the last; in
// all other cases the picture is uncertain.
func (g *group) reconcile(ctx context.Context, listed []uint32) {
	known := make(map[uint32]bool)
	var gone []*member
	for _, m := range g.seen {
		known[m.inode] = true
		if !slices.Contains(listed, m.inode) {
			gone = append(gone, m)
		}
	}
	for _, m := range gone {
		g.drop(m)
		if !g.order.Leave(m) || len(gone) > 1 {
			g.certain = false
		}
	}
	if len(gone) > 0 {
		g.epoch++ // what has moved to a free index may have got connections
		g.wake(ctx)
	}
	// Who has come by himself while nobody else came or went, has been appended: there is nothing to ask.
	unknown := slices.DeleteFunc(slices.Clone(listed), func(inode uint32) bool { return known[inode] })
	appended := g.certain && !g.touched && len(gone) == 0 && len(unknown) == 1
	for _, inode := range unknown {
		g.meet(ctx, inode, appended)
	}
	g.touched = false
	if g.lost && slices.ContainsFunc(g.seen, g.isLost) {
		g.certain = false
	}
}

// isLost tells whether a node that could tell where it sits has no place in the order.
func (g *group) isLost(m *member) bool {
	return m.party != nil && !m.suspect.Load() && g.order.Index(m) < 0
}

// meet takes note of a listener that nobody has told us of: a stranger's, or that of a worker which is being adopted.
func (g *group) meet(ctx context.Context, inode uint32, appended bool) {
	p, found, err := g.steering.holder(ctx, g, inode)
	if err != nil || p == nil && found.PID == 0 && g.vanishes(ctx, inode) {
		g.doubt()
		return
	}
	if p == nil {
		g.steering.report(inode, found)
	}
	m := &member{party: p, inode: inode, foreign: p == nil}
	g.seen = append(g.seen, m)
	if appended && m.foreign {
		g.order.Join(m)
	} else {
		g.doubt()
	}
}

// draw remembers the picture for Status.
func (g *group) draw() {
	d := drawing{certain: g.certain, weight: make(map[int]float64)}
	steered := g.rung >= reuseport.RungBPF && g.weights() != nil
	for _, m := range g.seen {
		switch {
		case m.foreign:
			d.strangers = append(d.strangers, g.steering.strangerOf(m.inode, g.address))
		case steered && m.party != nil:
			d.weight[m.id] = g.shareOf(m)
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
