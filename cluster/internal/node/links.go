package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/sharing"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/reuseport"
)

// Links link this node with the other nodes.
type Links struct {
	Mesh    *peer.Mesh
	Bus     *bus.Bus
	Sharing *sharing.Sharing // nil: queues are not shared
}

// Sharing says how nodes share their queues.
type Sharing struct {
	Enabled bool
	Mode    reuseport.WatchMode // how nodes watch the queues of others
}

// Join links this node with all that live in the directory. It takes as long as one of them needs that hangs, but
// no longer than timeout.
func Join(ctx context.Context, logger *slog.Logger, self peer.Info, in inside.Options, share Sharing, timeout time.Duration) (l Links, err error) {
	joining, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	mesh := peer.Options{Self: self, Logger: logger}
	inside.Set(&mesh, in)
	l.Mesh, err = peer.Join(joining, mesh)
	if err != nil {
		return Links{}, err
	}
	// The mesh may have taken all of the time, waiting for nodes that may be absent.
	ctx, cancel = context.WithTimeout(ctx, timeout)
	defer cancel()
	if l.Bus, err = bus.New(ctx, l.Mesh, bus.Options{Logger: logger}); err != nil {
		return Links{}, errline.Join(err, l.Mesh.Close())
	}
	if share.Enabled {
		if l.Sharing, err = sharing.New(l.Mesh, share.Mode, logger); err != nil {
			return Links{}, errline.Join(err, l.Close())
		}
	}
	return l, nil
}

// Sharer shares queues with the other nodes, nil where they are not shared.
func (l Links) Sharer() local.Sharer {
	if l.Sharing == nil {
		return nil
	}
	return l.Sharing
}

// Solo returns the links of a node that has no others.
func Solo(logger *slog.Logger, self peer.Info) (l Links, err error) {
	l.Mesh = peer.Solo(self)
	l.Bus, err = bus.New(context.Background(), l.Mesh, bus.Options{Logger: logger})
	return l, err
}

// Close delivers what is queued and leaves.
func (l Links) Close() error {
	if l.Sharing != nil {
		l.Sharing.Close()
	}
	return errline.Join(l.Bus.Close(), l.Mesh.Close())
}

// Cut ends the link to a peer that has broken the protocol.
func (l Links) Cut(p peer.Info, reason string) { inside.Of(l.Mesh).Cut(p, reason) }
