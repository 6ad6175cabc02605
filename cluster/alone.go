package cluster

import (
	"context"
	"net"

	"github.com/multinode-go/multinode/peer"
)

// listenAlone serves with one node, this process, where the kernel does not balance, for the reason why.
func listenAlone(opts Options, server Server, why error) (*Node, error) {
	key := portKey{Network: "tcp", Address: opts.Addr}
	listener, err := new(net.ListenConfig).Listen(context.Background(), key.Network, key.Address)
	if err != nil {
		return nil, explain(context.Background(), key, err)
	}
	if opts.workers() > 0 {
		opts.Logger.Warn("serving with one node, in this process", "nodes_wanted", opts.Nodes, "reason", why)
	}
	setDefault(&opts.Name, defaultName(listener.Addr().(*net.TCPAddr).Port))
	links, err := soloLinks(opts, peer.Info{Cluster: opts.Name, Generation: 1})
	if err != nil {
		return nil, join(err, listener.Close())
	}
	n := newNode(opts, links, newSeats(opts), server, listener)
	n.key = key
	n.start()
	return n, nil
}
