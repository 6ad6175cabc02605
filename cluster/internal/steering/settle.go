package steering

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// groupStatus is what Status shows of a group.
type groupStatus struct {
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
	g.nodes.Doubt()
	g.watch.member = nil // whatever program is attached
}

// settle makes the map agree with the kernel's list of listeners, and steers accordingly. It asks nothing, so that
// there may be holes in the map: these get no connections while most is known, and else the hash decides.
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
	g.replicate()
	g.noteStatus()
	return err
}

// certain tells whether all that can be known of the order is known.
func (g *group) certain() bool { return g.level < reuseport.RungBPF || g.nodes.IsCertain() }

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
	return errors.Is(err, protocol.ErrUnlinked) || errors.Is(err, os.ErrNotExist) || len(g.callable()) == 0
}

// target returns the address that questions go to.
func (g *group) target() (*net.TCPAddr, error) { return net.ResolveTCPAddr(g.key.Network, g.address) }

// listed returns the inodes of the kernel's list.
func (g *group) listed(ctx context.Context) ([]uint32, error) {
	listeners, err := g.steering.kernel.Listeners(ctx, g.key.Network, g.address)
	if err != nil {
		return nil, err
	}
	var inodes []uint32
	for _, l := range listeners {
		inodes = append(inodes, l.Inode)
	}
	return inodes, nil
}

// reconcile makes the members those that the kernel lists.
func (g *group) reconcile(ctx context.Context, listed []uint32) {
	gone := g.nodes.Look(listed)
	for _, m := range gone {
		delete(g.met, m)
		if m.Unmet > 0 {
			g.steering.sightings.vanished(g.address)
		}
	}
	if len(gone) > 0 {
		g.wake(ctx)
	}
}

// noteStatus remembers the map for Status.
func (g *group) noteStatus() {
	d := groupStatus{
		certain: g.certain() && !g.watch.contested, contested: g.watch.contested,
		members: len(g.nodes.Members()), obstacle: g.obstacle, weight: make(map[int]float64),
	}
	weights := g.nodes.Steering()
	var there []*sighting
	for _, m := range g.nodes.Members() {
		switch {
		case m.Foreign:
			there = append(there, g.met[m])
		case m.Node == nil:
		default:
			d.mute = d.mute || m.Node.mute
			if weights != nil && !d.contested {
				d.weight[m.Node.id] = portgroup.Percent(weights, g.nodes.Index(m))
			}
		}
	}
	d.strangers = g.steering.sightings.of(g.address, there)
	g.mu.Lock()
	defer g.mu.Unlock()
	d.asking = g.shown.asking
	g.shown = d
}

// tellAsking remembers for Status since when the kernel is asked.
func (g *group) tellAsking(since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shown.asking = since
}

func (g *group) status() groupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shown
}
