package cluster

import (
	"context"
	"net"

	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/peer"
)

// startAlone makes n the one node of a cluster, this process, where the kernel does not balance, for the reason why.
func startAlone(ctx context.Context, opts Options, n *Node, why error) (*node.Node, error) {
	key := portgroup.Key{Network: "tcp", Address: opts.Addr}
	listener, err := new(net.ListenConfig).Listen(ctx, key.Network, key.Address)
	if err != nil {
		return nil, steering.Explain(ctx, key, err)
	}
	if opts.Nodes > 1 || opts.DisableMasterListen {
		opts.Logger.Warn("serving with one node, in this process", "nodes_wanted", opts.Nodes, "reason", why)
	}
	setDefault(&opts.Name, defaultName(listener.Addr().(*net.TCPAddr).Port))
	links, err := node.Solo(opts.Logger, peer.Info{Cluster: opts.Name, Generation: 1})
	if err != nil {
		return nil, errline.Join(err, listener.Close())
	}
	front := serve.NewAcceptor(listener)
	cfg := opts.ofNode(n)
	own := node.New(cfg, links, local.New(opts.AcceptPauses, nil), key, front.Addr())
	own.TakeFront(front)
	own.Start(node.Role{Stop: func(error) error {
		err := own.EndServing(own.Stopping(), cfg.BriefLameDuck())
		return errline.Join(err, links.Close())
	}})
	return own, nil
}
