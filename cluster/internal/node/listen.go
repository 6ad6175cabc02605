package node

import (
	"context"
	"fmt"
	"net"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
)

// openFront makes the listener of the main port.
func (n *Node) openFront() (net.Listener, error) {
	ctx, cancel := context.WithTimeout(n.Servers.Draining(), n.cfg.BootTimeout)
	defer cancel()
	l, err := n.listen(ctx, n.key)
	if err != nil && !n.isWanted() { // it has stopped, or handed over, in this moment
		return n.Keep(serve.NewIdleListener(n.addr)), nil
	}
	if a, ok := l.(*serve.Acceptor); ok {
		go n.watchFront(a)
	}
	return l, err
}

// TakeFront sets the listener of the main port of a node that is alone.
func (n *Node) TakeFront(a *serve.Acceptor) {
	n.note(n.Keep(a))
	n.front = func() (net.Listener, error) { return a, nil }
	go n.watchFront(a)
}

// watchFront waits until the main port is accepted from. It is a goroutine that ends with the node.
func (n *Node) watchFront(a *serve.Acceptor) {
	select {
	case <-a.Accepting():
		n.MarkServing()
	case <-n.Done():
	}
}

// Listen shares one more port.
func (n *Node) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	key := portgroup.Key{Network: network, Address: address}
	key.Nth = n.call(key)
	l, err := n.listen(ctx, key)
	if err != nil {
		return nil, err
	}
	if n.IsStopping() {
		why := fmt.Errorf("%w: %w", control.ErrStopping, net.ErrClosed)
		return nil, errline.Join(&net.OpError{Op: "listen", Net: network, Addr: l.Addr(), Err: why}, l.Close())
	}
	return l, nil
}

func (n *Node) listen(ctx context.Context, key portgroup.Key) (net.Listener, error) {
	switch {
	case n.listeners.Steerer() == nil:
		l, err := new(net.ListenConfig).Listen(ctx, key.Network, key.Address)
		if err != nil {
			return nil, err
		}
		n.note(l)
		return n.Keep(serve.NewAcceptor(l)), nil
	case !n.accepts.Load():
		l, err := n.role.StandIn(ctx, key)
		if err != nil {
			return nil, err
		}
		return n.Keep(l), nil
	}
	one, err := n.listeners.Join(ctx, key)
	if err != nil {
		return nil, err
	}
	n.note(one)
	return one.Acceptor, nil
}
