package steering

import (
	"context"
	"errors"
	"os"

	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// doubt says that the order may be wrong, and that a node that is excluded may have got connections.
func (g *group) doubt() {
	g.nodes.Doubt()
	g.watch.member = nil // whatever program is attached
}

// settle makes the map agree with the kernel's list of listeners, and steers accordingly. It asks nothing, so that
// there may be holes in the map: these get no connections while most is known, and else the hash decides.
func (g *group) settle(ctx context.Context) error {
	listed, err := g.listed(ctx)
	if err != nil {
		g.steering.logger.Warn("the listeners of the port cannot be listed: the kernel's hash decides",
			"address", g.address, "error", err)
		g.doubt()
	} else {
		g.reconcile(ctx, listed)
	}
	err = errline.Join(err, g.publish(ctx))
	g.complain(ctx, &g.complaint, err)
	g.replicas.renew()
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

// reconcile makes the members those that the kernel lists.
func (g *group) reconcile(ctx context.Context, listed []uint32) {
	gone := g.nodes.Look(listed)
	g.strangers.gone(gone)
	if len(gone) > 0 {
		g.wake(ctx)
	}
}
