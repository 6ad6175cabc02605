package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
)

// Ports are those of a node.
type Ports struct {
	node      *Node
	listeners *local.Listeners // in groups
	key       portgroup.Key    // of the main port
	addr      net.Addr
	front     func() (net.Listener, error) // returns the main port's listener; the first call makes it
	accepts   atomic.Bool                  // this node listens itself, and does not only stand for the port

	mu    sync.Mutex
	calls map[portgroup.Key]int // of Listen, with Nth 0; guarded by mu
	kept  []net.Listener        // in no group; guarded by mu
	all   []net.Addr            // on which this node accepts; guarded by mu
}

func newPorts(n *Node, listeners *local.Listeners, key portgroup.Key, addr net.Addr) *Ports {
	p := &Ports{
		node: n, listeners: listeners, key: key, addr: addr, calls: make(map[portgroup.Key]int),
	}
	p.front = sync.OnceValues(p.openFront)
	p.accepts.Store(true)
	return p
}

// CloseListeners closes the listeners that are in groups.
func (p *Ports) CloseListeners() error { return p.listeners.Close() }

// Addr returns the address of the main port.
func (p *Ports) Addr() net.Addr { return p.addr }

// Accepts tells whether this node accepts connections, and does not only stand for the port.
func (p *Ports) Accepts() bool { return p.accepts.Load() }

// Supervise makes a node only stand for its ports.
func (p *Ports) Supervise() { p.accepts.Store(false) }

// Front returns the listener of the main port; the first call makes it.
func (p *Ports) Front() (net.Listener, error) { return p.front() }

// openFront makes the listener of the main port.
func (p *Ports) openFront() (net.Listener, error) {
	ctx, cancel := context.WithTimeout(p.node.Servers.Draining(), p.node.cfg.BootTimeout)
	defer cancel()
	l, err := p.listen(ctx, p.key)
	if err != nil && !p.node.isWanted() { // it has stopped, or handed over, in this moment
		return p.Keep(serve.NewIdleListener(p.addr)), nil
	}
	if a, ok := l.(*serve.Acceptor); ok {
		go p.watchFront(a)
	}
	return l, err
}

// TakeFront gives a node that is alone the listener of its main port.
func (p *Ports) TakeFront(a *serve.Acceptor) {
	p.note(p.Keep(a))
	p.front = func() (net.Listener, error) { return a, nil }
	go p.watchFront(a)
}

// watchFront waits until the main port is accepted from. It is a goroutine that ends with the node.
func (p *Ports) watchFront(a *serve.Acceptor) {
	select {
	case <-a.Accepting():
		p.node.MarkServing()
	case <-p.node.Done():
	}
}

// Listen shares one more port.
func (p *Ports) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	key := portgroup.Key{Network: network, Address: address}
	p.mu.Lock()
	nth := p.calls[key]
	p.calls[key]++
	p.mu.Unlock()

	key.Nth = nth + 1
	l, err := p.listen(ctx, key)
	if err != nil {
		return nil, err
	}
	if p.node.IsStopping() {
		why := fmt.Errorf("%w: %w", control.ErrStopping, net.ErrClosed)
		return nil, errline.Join(&net.OpError{Op: "listen", Net: network, Addr: l.Addr(), Err: why}, l.Close())
	}
	return l, nil
}

func (p *Ports) listen(ctx context.Context, key portgroup.Key) (net.Listener, error) {
	switch {
	case p.listeners.Steerer() == nil:
		l, err := new(net.ListenConfig).Listen(ctx, key.Network, key.Address)
		if err != nil {
			return nil, err
		}
		p.note(l)
		return p.Keep(serve.NewAcceptor(l)), nil
	case !p.accepts.Load():
		l, err := p.node.role.StandIn(ctx, key)
		if err != nil {
			return nil, err
		}
		return p.Keep(l), nil
	}
	one, err := p.listeners.Join(ctx, key)
	if err != nil {
		return nil, err
	}
	p.note(one)
	return one.Acceptor, nil
}

// note remembers a port on which this node accepts.
func (p *Ports) note(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, l.Addr())
}

func (p *Ports) addresses() []net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// Keep remembers a listener that is in no group, so that it is closed with the others.
func (p *Ports) Keep(l net.Listener) net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, l)
	return l
}

// shutKept lets the listeners that are in no group accept nothing more.
func (p *Ports) shutKept() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.kept {
		if a, ok := l.(*serve.Acceptor); ok {
			a.Park(p.node.Done())
			err = errline.Join(err, a.Shut())
		}
	}
	return err
}

// closeKept closes the listeners that are in no group. Their users may have closed them before.
func (p *Ports) closeKept() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.kept {
		err = errline.Join(err, l.Close())
	}
	return err
}
