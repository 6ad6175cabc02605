package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/descriptors"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// Node is this process in its cluster. All methods may be called at the same time.
type Node struct {
	opts      Options
	links     links
	servers   *serve.Servers
	listeners *local.Listeners // in groups
	key       portgroup.Key    // of the main port
	addr      net.Addr
	front     func() (net.Listener, error) // returns the main port's listener; the first call makes it
	master    *master                      // nil in a worker
	worker    *upstream                    // nil in a master
	started   chan struct{}                // closed when the fields above are set: orders may come before
	ready     chan struct{}

	onServing   func() // called before serving is closed
	readyOnce   sync.Once
	servingOnce sync.Once
	leftOnce    sync.Once
	serving     chan struct{} // closed when the main port is accepted from, or is not to be any more
	left        chan struct{} // closed when this node has no listener any more
	ending      ending        // of the servers
	accepts     atomic.Bool   // this node listens itself, and does not only stand for the port

	begun     chan struct{} // closed when the stop begins
	hurried   chan struct{} // closed when it is to take no more time
	hurryOnce sync.Once

	stopMu   sync.Mutex
	stopping context.Context    // of the stop; nil before it began; guarded by stopMu
	cut      context.CancelFunc // ends the patience of the stop; guarded by stopMu
	raise    os.Signal          // with which the process is to end; guarded by stopMu

	deaf chan struct{} // closed when it takes signals no longer
	done chan struct{} // closed when the node has ended
	err  error         // readable after done

	portsMu sync.Mutex
	calls   map[portgroup.Key]int // of Listen, with Nth 0; guarded by portsMu
	kept    []net.Listener        // in no group; guarded by portsMu
	ports   []net.Addr            // on which this node accepts; guarded by portsMu
}

// newNode makes a node at the port key, which has the address addr. It does not listen yet.
func newNode(opts Options, links links, listeners *local.Listeners, key portgroup.Key, addr net.Addr) *Node {
	n := &Node{
		opts: opts, links: links, listeners: listeners, key: key, addr: addr,
		started: make(chan struct{}), ready: make(chan struct{}), serving: make(chan struct{}), left: make(chan struct{}),
		done: make(chan struct{}), deaf: make(chan struct{}), begun: make(chan struct{}), hurried: make(chan struct{}), calls: make(map[portgroup.Key]int), onServing: func() {},
	}
	n.servers = serve.New(serve.Config{HijackTimeout: opts.HijackTimeout, PrepareHTTP: n.provide})
	n.accepts.Store(true)
	n.front = sync.OnceValues(n.openFront)
	listeners.BelongTo(local.Node{
		Logger: opts.Logger.With("id", n.ID(), "slot", n.Slot()), Load: n.servers.Load, Stopping: n.begun,
	})
	return n
}

// start lets the node live: from here on its signals are caught.
func (n *Node) start() {
	n.watchSignals()
	close(n.started)
}

// giveUp takes start back, in a node that has done nothing else. When it returns, the signals are the program's again.
func (n *Node) giveUp() {
	n.stopMu.Lock()
	isStopped := n.stopping != nil // a signal has begun to stop it
	if !isStopped {
		n.stopping, n.cut = context.WithCancel(context.Background())
		n.cut()
		close(n.begun)
		close(n.done)
	}
	n.stopMu.Unlock()
	if !isStopped {
		<-n.deaf
	}
}

// openFront makes the listener of the main port.
func (n *Node) openFront() (net.Listener, error) {
	ctx, cancel := context.WithTimeout(n.servers.Draining(), n.opts.BootTimeout)
	defer cancel()
	l, err := n.listen(ctx, n.key)
	if err != nil && !n.isWanted() { // it has stopped, or handed over, in this moment
		return n.keep(serve.NewIdleListener(n.addr), nil)
	}
	if a, ok := l.(*serve.Acceptor); ok {
		go n.watchFront(a)
	}
	return l, err
}

// takeFront gives a node that is alone the listener of its main port.
func (n *Node) takeFront(a *serve.Acceptor) {
	n.kept, n.ports = append(n.kept, a), append(n.ports, a.Addr())
	n.front = func() (net.Listener, error) { return a, nil }
	go n.watchFront(a)
}

// watchFront waits until the main port is accepted from. It is a goroutine that ends with the node.
func (n *Node) watchFront(a *serve.Acceptor) {
	select {
	case <-a.Accepting():
		n.markServing()
	case <-n.done:
	}
}

func (n *Node) markServing() {
	n.servingOnce.Do(func() {
		n.onServing()
		close(n.serving)
	})
}

// isWanted tells whether this node is to accept connections.
func (n *Node) isWanted() bool { return n.accepts.Load() && !n.isStopping() }

// ID returns the node's number, which no other node of this cluster ever had or will have. The master of a new
// cluster is 0, workers count from 1.
func (n *Node) ID() int { return n.links.mesh.Self().ID }

// Slot returns the node's stable place: 0 is the master, workers have 1 to N. The replacement of a worker takes over
// its slot.
func (n *Node) Slot() int { return n.links.mesh.Self().Slot }

// Generation returns how often the slot has been filled, from 1.
func (n *Node) Generation() int { return n.links.mesh.Self().Generation }

// IsMaster tells whether this is the process that the user started, and so the place for what must happen once.
func (n *Node) IsMaster() bool { return n.links.mesh.Self().Slot == 0 }

// Name returns the name of the cluster.
func (n *Node) Name() string { return n.links.mesh.Self().Cluster }

// Mesh returns this node's part in the mesh of all nodes: who is there, who joins and leaves, and streams by name. The
// node closes it when it ends.
func (n *Node) Mesh() *peer.Mesh { return n.links.mesh }

// Peers returns the other nodes that are linked to this one, by id.
func (n *Node) Peers() []peer.Info { return n.links.mesh.Peers() }

// Bus returns this node's part in the bus of all nodes, for messages to all, to one, and with answers. The node closes it
// when it ends, after its server, so that the last requests can still send.
func (n *Node) Bus() *bus.Bus { return n.links.bus }

// nodeStream names the streams of OnNode.
const nodeStream = "node"

// OnNode calls f with a stream to each other node, to those that are there and those that come, once it can be written
// and read, in a goroutine of its own. Every node of the cluster has to call OnNode: a pair of nodes has a stream when
// both have. The stream is f's, as in [peer.Mesh.OnStream]; it stays open when f returns. A second call panics, as there
// is one such stream to each node; for others see [Node.Mesh].
func (n *Node) OnNode(f func(*peer.Stream)) {
	if _, err := n.links.mesh.OnStream(nodeStream, nil, f); err != nil {
		panic(fmt.Errorf("cluster: OnNode: %w", err))
	}
}

// Addr returns the address that all nodes share, with the port's number also where port 0 was asked for.
func (n *Node) Addr() net.Addr { return n.addr }

// Listener returns the node's listener for Options.Addr, for programs that serve by themselves. What it accepts are
// *net.TCPConns. In a node that was made by [Start] the first call lets the node listen, so make it when the server is
// ready to accept; the node is ready at the first Accept. A node that cannot listen ends, and [Node.Wait] says why. In a
// master that does not listen it accepts nothing.
//
// When the node drains it leaves the port, and then [Node.Draining] is done: no new connection comes any more. That is the
// time to end the server gently, with GracefulStop or what it has. Accept blocks from then on until the node has ended or
// the program closes the listener, so that a server that takes the end of Accept for its own end does not drop its
// connections. The node ends when all connections that the listener has accepted are closed. Those that are open after
// Options.StopTimeout are cut by the end of the process, and the error of Wait says how many they were. Only Linux tells
// which connections are open; elsewhere the node does not wait for them.
//
// A program that closes the listener before Draining is done loses the connections that wait to be accepted.
func (n *Node) Listener() net.Listener {
	l, err := n.front()
	if err != nil {
		n.stop(err, n.opts.StopTimeout)
		l, _ = n.keep(serve.NewIdleListener(n.addr), nil)
	}
	return l
}

// Listen shares one more port: every node of the cluster calls it with the same arguments. network is "tcp", "tcp4" or
// "tcp6"; port 0 is one free port for all, another one for each further call. In a master that does not listen the
// listener accepts nothing. The node listens when Listen returns, so call it when the server is ready to accept, and serve
// with [Node.Serve], or by yourself: the listener is in everything as that of [Node.Listener]. A call in a node that stops
// is an error that Is [ErrStopping].
func (n *Node) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	key := portgroup.Key{Network: network, Address: address}
	n.portsMu.Lock()
	nth := n.calls[key]
	n.calls[key]++
	n.portsMu.Unlock()

	key.Nth = nth + 1
	l, err := n.listen(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", descriptors.Explain(err))
	}
	if n.isStopping() {
		why := fmt.Errorf("%w: %w", ErrStopping, net.ErrClosed)
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
		n.notePort(l)
		return n.keep(serve.NewAcceptor(l), nil)
	case !n.accepts.Load():
		return n.keep(n.master.standIn(ctx, key))
	}
	one, err := n.listeners.Join(ctx, key)
	if err != nil {
		return nil, err
	}
	n.notePort(one)
	return one.Acceptor, nil
}

// notePort remembers a port on which this node accepts.
func (n *Node) notePort(l net.Listener) {
	n.portsMu.Lock()
	defer n.portsMu.Unlock()
	n.ports = append(n.ports, l.Addr())
}

// keep remembers a listener that is in no group, so that it is closed with the others.
func (n *Node) keep(l net.Listener, err error) (net.Listener, error) {
	if err != nil {
		return nil, err
	}
	n.portsMu.Lock()
	defer n.portsMu.Unlock()
	n.kept = append(n.kept, l)
	return l, nil
}

// shutKept lets the listeners that are in no group accept nothing more.
func (n *Node) shutKept() (err error) {
	n.portsMu.Lock()
	defer n.portsMu.Unlock()
	for _, l := range n.kept {
		if a, ok := l.(*serve.Acceptor); ok {
			a.Park(n.done)
			err = errline.Join(err, a.Shut())
		}
	}
	return err
}

// closeKept closes the listeners that are in no group. Their users may have closed them before.
func (n *Node) closeKept() (err error) {
	n.portsMu.Lock()
	defer n.portsMu.Unlock()
	for _, l := range n.kept {
		err = errline.Join(err, l.Close())
	}
	return err
}

// Ready tells that the program is ready to serve; it counts with Options.ManualReady.
func (n *Node) Ready() { n.readyOnce.Do(func() { close(n.ready) }) }

// WaitReady waits until this node is ready and, on the master, until each slot has had a worker that became ready. It
// returns early with the error of the node when that has ended, or of ctx.
func (n *Node) WaitReady(ctx context.Context) error {
	for _, ready := range n.readiness() {
		select {
		case <-ready:
		case <-n.done:
		case <-ctx.Done():
			return fmt.Errorf("cluster: wait until ready: %w", ctx.Err())
		}
	}
	select {
	case <-n.done:
		if n.err != nil {
			return n.err
		}
		return fmt.Errorf("cluster: the node has ended: %w", net.ErrClosed)
	default:
		return nil
	}
}

// readiness returns the channels that are closed when this node and, on the master, all others are ready.
func (n *Node) readiness() []<-chan struct{} {
	all := n.ownReadiness()
	if n.master != nil {
		all = append(all, n.master.supervisor.AllReady())
	}
	return all
}

// ownReadiness returns the channels that are closed when this node is ready.
func (n *Node) ownReadiness() []<-chan struct{} {
	var all []<-chan struct{}
	if n.accepts.Load() {
		all = append(all, n.serving)
	}
	if n.opts.ManualReady {
		all = append(all, n.ready)
	}
	return all
}

// Wait waits until the node has ended. It returns nil after a stop in which nothing was cut, and else why the node
// has ended or what was cut; a [WorkerError] below it tells of the worker that ended the cluster.
func (n *Node) Wait() error {
	<-n.done
	return n.err
}

// Shutdown stops the node gracefully: it leaves its ports, [Node.Draining] is done, clients are told to use their idle
// connections no more, and requests in flight finish, as [Server] and [Node.Listener] describe it. On the master all nodes
// stop. What has not finished when ctx is done, or after Options.StopTimeout, is cut: connections are closed, workers
// killed. The error is that of Wait.
func (n *Node) Shutdown(ctx context.Context) error {
	timeout := n.opts.StopTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	n.stop(nil, timeout)
	select {
	case <-n.done:
	case <-ctx.Done():
		n.hurry()
		<-n.done
	}
	return n.err
}

// stop begins to end the node, for the reason cause; nil is a wish. Only the first call counts.
func (n *Node) stop(cause error, timeout time.Duration) {
	n.stopMu.Lock()
	defer n.stopMu.Unlock()
	if n.stopping == nil {
		n.stopLocked(cause, timeout)
	}
}

func (n *Node) stopLocked(cause error, timeout time.Duration) {
	n.stopping, n.cut = context.WithTimeout(context.Background(), timeout)
	close(n.begun)
	go n.leave(cause) // ends within the time-out plus what killing takes; Wait waits for it
}

func (n *Node) isStopping() bool {
	n.stopMu.Lock()
	defer n.stopMu.Unlock()
	return n.stopping != nil
}

func (n *Node) isHurried() bool { return isClosed(n.hurried) }

// hurry cuts what a stop is still waiting for.
func (n *Node) hurry() {
	n.hurryOnce.Do(func() { close(n.hurried) })
	n.stopMu.Lock()
	defer n.stopMu.Unlock()
	if n.cut != nil {
		n.cut()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
