// Package inside gives the other packages of this library the parts of package peer that its users do not see: how a node
// becomes the master of a cluster, and what a layer above the mesh needs to know of its end and of the live nodes.
package inside

import (
	"log/slog"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// Options are the options of peer.Join that its users do not have.
type Options struct {
	// Directory is where the nodes meet. It stays the caller's, and must be open until Close has returned. Default: Join opens
	// that of its Options.
	Directory *rendezvous.Directory
	// NextID is for the master: it returns the id of a guest, from 1 on and never given before, or 0 to take none. It may
	// be called several times at once. A master can be found by all as master.sock in the directory.
	NextID func() int
	// Unshown is for a master that is to replace another: master.sock leads to the old master until ShowMaster.
	Unshown bool
	// AllowAbsent makes Join return without those nodes that live and do not answer, when ctx is done: see Absent.
	AllowAbsent bool
}

// Mesh is the methods of a *peer.Mesh that are not public.
type Mesh[Info any] interface {
	// Absent returns the nodes that live in the directory and are no members now, since they hang, for instance, or join
	// just now. Of each only ID, Incarnation and PID are known, and PID only where the kernel tells.
	Absent() ([]Info, error)
	// Cut ends the membership of a peer in a bad state: all streams to it are closed, and both sides see it leave with
	// ReasonCut. It is not kept out: its link comes up again. Cut of a node that is no member does nothing.
	Cut(peer Info, reason string)
	// Directory returns the rendezvous directory, nil for a mesh of one.
	Directory() *rendezvous.Directory
	// Live returns the other live nodes: the members, and live nodes of the directory that are no members now, with only ID and
	// Incarnation. Every other node has left or is dead, and does nothing in the mesh. Live fails while the directory is
	// removed. After Close the error Is net.ErrClosed.
	Live() ([]Info, error)
	// Logger returns the logger of the mesh, for what belongs to it and has no other. It is not nil.
	Logger() *slog.Logger
	// OnClose calls f at the beginning of Close, before the peers see this node leave, so f can shut down what they depend on.
	// Close waits for f, which must not close the mesh. remove cancels f; after Close, f is called at once.
	OnClose(f func()) (remove func())
	// PeersWith returns the members that want to have a stream of that name with this node, as far as they have said so, by
	// id. What a peer wanted before it joined, it has said when it becomes a member.
	PeersWith(stream string) []Info
	// ShowMaster leads master.sock to this node: for the first time if it has joined with Unshown, or again, after a successor
	// that has failed. It is for a node with NextID.
	ShowMaster() error
}

var (
	set func(opts any, o Options)
	of  func(mesh any) any
)

// Register is called by package peer when it is initialized, with how to set the options in a *peer.Options, and how to get
// the Mesh of a *peer.Mesh.
func Register(setOptions func(opts any, o Options), meshOf func(mesh any) any) {
	set, of = setOptions, meshOf
}

// Set puts o into opts, a *peer.Options.
func Set(opts any, o Options) { set(opts, o) }

// Of returns the inside of mesh, a *peer.Mesh.
func Of[Info any](mesh interface{ Self() Info }) Mesh[Info] { return of(mesh).(Mesh[Info]) }
