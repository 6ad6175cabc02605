package cluster

import (
	"context"
	"time"

	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// links are what links this node with the others.
type links struct {
	mesh *peer.Mesh
	bus  *bus.Bus
}

// joinLinks links this node with all that live in the directory. It takes as long as one of them needs that hangs, but
// no longer than timeout.
func joinLinks(ctx context.Context, opts Options, self peer.Info, in inside.Options, timeout time.Duration) (l links, err error) {
	joining, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	mesh := peer.Options{Self: self, Logger: opts.Logger}
	inside.Set(&mesh, in)
	l.mesh, err = peer.Join(joining, mesh)
	if err != nil {
		return links{}, err
	}
	// The mesh may have taken all of the time, to wait for those that may be absent.
	ctx, cancel = context.WithTimeout(ctx, timeout)
	defer cancel()
	if l.bus, err = bus.New(ctx, l.mesh, bus.Options{Logger: opts.Logger}); err != nil {
		return links{}, errline.Join(err, l.mesh.Close())
	}
	return l, nil
}

// soloLinks are those of a node that has no others.
func soloLinks(opts Options, self peer.Info) (l links, err error) {
	l.mesh = peer.Solo(self)
	l.bus, err = bus.New(context.Background(), l.mesh, bus.Options{Logger: opts.Logger})
	return l, err
}

// close delivers what is queued and leaves.
func (l links) close() error {
	return errline.Join(l.bus.Close(), l.mesh.Close())
}
