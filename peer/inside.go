package peer

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

func init() {
	inside.Register(
		func(opts any, o inside.Options) { opts.(*Options).inside = o },
		func(mesh any) any { return insider{mesh.(*Mesh)} },
	)
}

// insider implements the methods of a mesh that only this library uses.
type insider struct{ mesh *Mesh }

var _ inside.Mesh[Info] = insider{}

func (i insider) Absent() ([]Info, error) { return i.mesh.census.absent() }

func (i insider) Cut(peer Info, reason string) { i.mesh.members.cut(peer, reason) }

func (i insider) Directory() *rendezvous.Directory { return i.mesh.dir }

func (i insider) Live() ([]Info, error) { return i.mesh.census.live() }

func (i insider) Logger() *slog.Logger { return i.mesh.opts.Logger }

func (i insider) OnClose(f func()) (remove func()) { return i.mesh.closeHooks.Add(f) }

func (i insider) PeersWith(stream string) []Info { return i.mesh.members.peersWith(stream) }

func (i insider) ShowMaster() error {
	if i.mesh.opts.inside.NextID == nil {
		return errors.New("peer: show the master: this node has no NextID")
	}
	if err := i.mesh.presence.public.ShowMaster(); err != nil {
		return fmt.Errorf("peer: show the master: %w", err)
	}
	return nil
}
