// Package peer links the processes of a cluster on one machine by byte streams on Unix sockets, each with every other.
//
// Each process is a node. It publishes itself in a rendezvous directory that only its user can enter, finds the other
// nodes there, and links itself with each:
//
//	mesh, err := peer.Join(ctx, peer.Options{Self: peer.Info{Cluster: "web", ID: 1, Slot: 1, Generation: 1}})
//	...
//	defer mesh.Close()
//	mesh.OnEvent(func(e peer.Event) { log.Print(e.Peer.ID, " has ", e.Type) })
//	_, err = mesh.OnStream("chat", nil, func(s *peer.Stream) { ... }) // one stream to each peer that has done the same
//	s, err := mesh.Dial(ctx, 2, "files")                              // or any number, to what listens on node 2
//
// What always holds:
//
//   - The directory is a hint, a connection is the truth. A node is alive as long as it holds the lock of its file,
//     which the kernel gives back when it dies, however it dies. Whoever finds the files of a dead node removes them.
//   - A node publishes itself before it looks for others. So of two that start at once, at least one finds the other,
//     and when both have joined, each is a member for the other.
//   - Each node sees each other one join once and leave once, with the reason, and nothing of one that was never ready.
//   - Only processes of our own user get a stream, and only those that name the same cluster.
//   - Files that are not a node's are left alone: plain files, links, foreign names.
//   - What somebody removes of a node's files, or the whole directory, is made again; links and streams do not notice.
//   - Clients that send garbage, half a request or nothing cost a bounded number of connections for a bounded time, and
//     keep no node out.
//
// A stream is an HTTP/1.1 Upgrade, `GET /stream/NAME` with `Upgrade: multinode`, and nothing but bytes after it; the
// handshake carries a version, so that nodes of this version and the one before it talk. The node with the lower id dials
// the link to the other, and the streams of OnStream. With `Upgrade: websocket` a stream is for clients in any language,
// see [Mesh.ListenWebSocket]. The package has no messages and keeps none for a node that is away: see package bus for that.
//
// A program that nobody has started for the cluster can join as a guest, see [Options]. It asks the master for its id:
// `POST /nodes` on master.sock in the directory, with the header Multinode-Cluster, which answers {"id":7}.
//
// It needs flock(2) and Unix sockets: Linux, macOS and the BSDs. Elsewhere [Join] fails with an error that Is
// [errors.ErrUnsupported].
package peer

import "github.com/multinode-go/multinode/internal/rendezvous"

type node = rendezvous.Node

// Info says who a node is.
type Info struct {
	Cluster     string                 // name of the cluster: 1 to 64 letters, digits, dots, hyphens and underscores, and no dot in front
	ID          int                    // unique in the cluster's life
	Slot        int                    // stable place of a worker, 1 to N; 0 is the master
	Generation  int                    // how often the slot has been filled; 0: a guest, see Options
	Incarnation rendezvous.Incarnation // this one process, at random
	// PID is the process id, for the log. That of a peer is what the kernel says, not what the peer says: of a peer
	// that was dialed, the process that called listen. It is 0 where the kernel does not say (all but Linux).
	PID int
}

func (info Info) node() node { return node{ID: info.ID, Incarnation: info.Incarnation} }
