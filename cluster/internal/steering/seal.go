package steering

import (
	"context"
	"errors"

	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

var errUncertain = errors.New("it is not known which member has which part of the connections")

// seal adds a sink to the group, and steers all new connections to it: their SYNs are dropped, and sent again a second later,
// when another process may listen. It probes only where that is necessary: the nodes may be leaving already, each on a signal of
// its own.
func (g *group) seal(ctx context.Context) error {
	if g.level < reuseport.RungBPF {
		return nil
	}
	err := g.sealKnown(ctx)
	if errors.Is(err, errUncertain) {
		g.look(ctx)
		err = g.sealKnown(ctx)
	}
	return err
}

// sealKnown is seal, if the order is known.
func (g *group) sealKnown(ctx context.Context) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	err := g.settle(ctx)
	if err == nil && len(g.nodes.Members()) == 0 {
		return nil // no process listens
	}
	if err != nil || !g.certain() {
		return errline.Join(errUncertain, err)
	}
	if g.nodes.Steering() == nil { // all are leaving: the hash would send the sink its share before it is full
		if err := g.attach(ctx, reuseport.Steering{Weights: g.nodes.Evenly()}); err != nil {
			return errline.Join(errUncertain, err)
		}
	}
	sink, err := g.kernel.NewSink(ctx, g.key.Network, g.address)
	if err != nil {
		return err
	}
	inode, err := sink.Inode()
	if err != nil {
		return errline.Join(err, sink.Close())
	}
	m := &member{Inode: inode}
	g.nodes.Join(m)
	weights := append(make([]uint32, len(g.nodes.Order())-1), 1)
	attach := func(s reuseport.Steering) error { return g.attach(ctx, s) }
	if err := sink.Fill(ctx, g.nodes.Index(m), attach, weights); err != nil {
		g.nodes.Drop(m)
		g.doubt()
		err = errline.Join(err, sink.Close())
		return errline.Join(err, g.settle(ctx))
	}
	g.sink, g.drain = sink, m
	return nil
}
