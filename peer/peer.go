// Package peer links the processes of a cluster on one machine by byte streams on Unix sockets, each with every other.
//
// Each process is a node. It publishes itself in a rendezvous directory that only its user can enter, and links itself
// with the nodes that it finds there:
//
//	mesh, err := peer.Join(ctx, peer.Options{Self: peer.Info{Cluster: "web", ID: 1, Slot: 1, Generation: 1}})
//	...
//	defer mesh.Close()
//	mesh.OnEvent(func(e peer.Event) { log.Print(e.Peer.ID, " has ", e.Type) })
//	_, err = mesh.OnStream("chat", nil, func(s *peer.Stream) { ... }) // one stream with each peer that does the same
//	s, err := mesh.Dial(ctx, 2, "files")                              // or any number, to a listener of node 2
//
// What always holds:
//
//   - A node is alive as long as it holds the lock of its file, which the kernel releases when the process dies.
//   - When two nodes have joined, each is a member for the other.
//   - Each node sees every other node join once and leave once, with the reason, and only nodes that are ready.
//   - Only processes of our own user that name the same cluster get a stream.
//   - Foreign files in the directory are left alone. Removed files of a live node, or the whole directory, are made
//     again, without effect on links and streams.
//   - Clients that send garbage, half a request or nothing cost a bounded number of connections for a bounded time, and
//     keep no node out.
//
// A stream is an HTTP/1.1 Upgrade, `GET /stream/NAME` with `Upgrade: multinode`, and raw bytes after it. Nodes of this
// version and the one before it talk. `Upgrade: websocket` is for clients in any language, see [Mesh.ListenWebSocket].
// Package bus adds messages; neither stores anything for an absent node.
//
// A program that the cluster has not started joins as a guest, see [Options]. It gets its id from the master: `POST
// /nodes` on master.sock in the directory, with the header Multinode-Cluster, answers {"id":7}.
//
// The package requires flock(2) and Unix sockets: Linux, macOS and the BSDs. Elsewhere the error of [Join] Is
// [errors.ErrUnsupported].
package peer

import "github.com/multinode-go/multinode/internal/rendezvous"

type node = rendezvous.Node

// Info identifies a node.
type Info struct {
	Cluster     string                 // name of the cluster: 1 to 64 letters, digits, dots, hyphens and underscores, no dot first
	ID          int                    // unique in the cluster's life
	Slot        int                    // stable place of a worker, 1 to N; 0 is the master
	Generation  int                    // how often the slot has been filled; 0: a guest, see Options
	Incarnation rendezvous.Incarnation // of this process, random
	PID         int                    // of a peer: of the process that called listen or connect, from the kernel on Linux, else 0
}

func (info Info) node() node { return node{ID: info.ID, Incarnation: info.Incarnation} }
