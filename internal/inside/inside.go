// Package inside is the part of package peer for the other packages of this library, hidden from its users: how a node
// becomes the master of a cluster, and what a layer above the mesh needs to know of its end and of the live nodes.
package inside

import (
	"log/slog"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// Options are the hidden options of peer.Join.
type Options struct {
	// Directory is the rendezvous directory. The caller owns it, and closes it after the mesh. Default: Join opens the one of
	// its Options.
	Directory *rendezvous.Directory
	// NextID is for the master, which the directory shows as master.sock: it returns a new id for a guest, from 1 on, or 0 to
	// refuse the guest. It may be called concurrently.
	NextID func() int
	// Unshown is for a master that is to replace another: master.sock leads to the old master until ShowMaster.
	Unshown bool
	// AllowAbsent makes Join succeed when ctx is done, without the live nodes that do not answer: see Absent.
	AllowAbsent bool
}

// Mesh is the methods of a *peer.Mesh that are not public.
type Mesh[Info any] interface {
	// Absent returns the nodes that live in the directory and are not members now, since they hang or are joining, for
	// instance. Of each only ID, Incarnation and PID are known, and PID only where the kernel shows it.
	Absent() ([]Info, error)
	// Cut ends the membership of a peer in a bad state: all streams to it are closed, and both sides see it leave with
	// ReasonCut. The peer is not kept out: its link comes up again. Cut of a node that is not a member does nothing.
	Cut(peer Info, reason string)
	// Directory returns the rendezvous directory, nil for a mesh of one.
	Directory() *rendezvous.Directory
	// Live returns the other live nodes: the members, and live nodes of the directory that are not members now, with only ID and
	// Incarnation. Every other node has left or is dead, and does nothing in the mesh. Live fails while the directory is
	// removed. After Close the error Is net.ErrClosed.
	Live() ([]Info, error)
	// Logger returns the logger of the mesh, the default for the layers above it. It is not nil.
	Logger() *slog.Logger
	// OnClose calls f at the beginning of Close, before the peers see this node leave, so f can shut down what they depend on.
	// Close waits for f, which must not close the mesh. remove cancels f; after Close, f is called at once.
	OnClose(f func()) (remove func())
	// PeersWith returns the members that want a stream of that name with this node, by id, as far as their states have
	// arrived. The state of a new member has all streams that it wanted before it joined.
	PeersWith(stream string) []Info
	// ShowMaster leads master.sock to this node: for the first time if it has joined with Unshown, or again, after a successor
	// that has failed. It requires NextID.
	ShowMaster() error
}

var (
	set func(opts any, o Options)
	of  func(mesh any) any
)

// Register is called by package peer when it is initialized, with functions that set the options of a *peer.Options, and
// return the Mesh of a *peer.Mesh.
func Register(setOptions func(opts any, o Options), meshOf func(mesh any) any) {
	set, of = setOptions, meshOf
}

// Set puts o into opts, a *peer.Options.
func Set(opts any, o Options) { set(opts, o) }

// Of returns the inside of mesh, a *peer.Mesh.
func Of[Info any](mesh interface{ Self() Info }) Mesh[Info] { return of(mesh).(Mesh[Info]) }
