// Package local holds the listeners of this process, and does its part in their groups: it joins them, leaves them without losing
// a connection, and carries out the master's requests about a listener.
package local

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// Listener is a listener of this process in the group of a port.
type Listener struct {
	*serve.Acceptor
	Key     portgroup.Key
	of      *Listeners
	address string
	socket  *net.TCPListener         // below the acceptor
	queues  *reuseport.MultiListener // around socket; nil: it is not shared
	inode   uint32
}

// Queue returns the length and the limit of the accept queue, 0 while it is being closed.
func (l *Listener) Queue() (length, limit int) {
	q, err := reuseport.Queue(l.socket)
	if err != nil {
		return 0, 0
	}
	return q.Length, q.Limit
}

// Drain waits until nothing waits to be accepted that was on its way.
func (l *Listener) Drain(ctx context.Context) error {
	_, err := reuseport.Drain(ctx, l.socket)
	return err
}

// Node is the node whose listeners they are.
type Node struct {
	Logger   *slog.Logger
	Load     func() (connections, requests int)
	Stopping <-chan struct{} // closed when it begins to stop
}

// Listeners are all listeners of this process that are in groups. They are the [portgroup.Agent] of this process. All methods may be
// called at the same time.
type Listeners struct {
	pauses  bool       // an accept loop that does not pass proves nothing
	sharer  Sharer     // nil: no queue is shared
	leaving sync.Mutex // held while a group is left

	mu        sync.Mutex
	node      Node                                  // guarded by mu
	steerer   protocol.Steerer                      // guarded by mu; nil: this process is alone
	open      map[portgroup.Key]*Listener           // guarded by mu
	snapshots map[portgroup.Key]*portgroup.Snapshot // guarded by mu; the newest
	rejoining map[portgroup.Key]*serve.Acceptor     // guarded by mu; of listeners that are closed only to be opened again
	expected  map[netip.AddrPort]*expected          // guarded by mu; by source
	refuses   bool                                  // guarded by mu; no listener can be opened
}

var _ portgroup.Agent = (*Listeners)(nil)

// New returns the listeners of a process that has none. Where accept loops pause, it proves nothing that one does not pass. sharer is
// nil where queues are not shared.
func New(pauses bool, sharer Sharer) *Listeners {
	stopping := make(chan struct{})
	return &Listeners{
		pauses: pauses, sharer: sharer,
		node: Node{Logger: slog.New(slog.DiscardHandler), Load: func() (int, int) { return 0, 0 }, Stopping: stopping},
		open: make(map[portgroup.Key]*Listener), snapshots: make(map[portgroup.Key]*portgroup.Snapshot),
		rejoining: make(map[portgroup.Key]*serve.Acceptor), expected: make(map[netip.AddrPort]*expected),
	}
}

// BelongTo sets the node of the listeners.
func (l *Listeners) BelongTo(n Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.node = n
}

// SteerBy sets the steerer of the groups.
func (l *Listeners) SteerBy(s protocol.Steerer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steerer = s
}

// Sharer lends listeners to other nodes, and watches theirs.
type Sharer interface {
	// Share returns a listener that watches the queues of other nodes, too. It owns l.
	Share(l *net.TCPListener) (*reuseport.MultiListener, error)
	// Open lends the listener to other nodes.
	Open(m *reuseport.MultiListener)
	// Shut forgets it before it is closed.
	Shut(m *reuseport.MultiListener)
}

// Steerer returns the steerer of the groups, nil if this process is alone.
func (l *Listeners) Steerer() protocol.Steerer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steerer
}

func nodeOf(l *Listeners) Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.node
}

// Get returns the listener for a port.
func (l *Listeners) Get(port portgroup.Key) (*Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.open[port]; one != nil {
		return one, nil
	}
	return nil, fmt.Errorf("this node does not listen on %s %s: %w", port.Network, port.Address, net.ErrClosed)
}

// All returns all listeners, in no order.
func (l *Listeners) All() (all []*Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.open {
		all = append(all, one)
	}
	return all
}

// Infos describes the listeners for a new master.
func (l *Listeners) Infos() (infos []protocol.Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for port, one := range l.open {
		infos = append(infos, protocol.Listener{Port: port, Address: one.address, Inode: one.inode, Snapshot: l.snapshots[port]})
	}
	slices.SortFunc(infos, func(a, b protocol.Listener) int { return int(a.Inode) - int(b.Inode) })
	return infos
}

// last returns all listeners, and keeps others from being opened.
func (l *Listeners) last() []*Listener {
	l.mu.Lock()
	l.refuses = true
	l.mu.Unlock()
	return l.All()
}

// Close closes all listeners. None can be opened after it.
func (l *Listeners) Close() (err error) {
	for _, one := range l.last() {
		err = errline.Join(err, l.shut(one))
	}
	return err
}

// Open opens the listener for a port. It keeps the acceptor of a listener that is rejoining.
func (l *Listeners) Open(ctx context.Context, port portgroup.Key, address string) (inode uint32, err error) {
	if one, err := l.Get(port); err == nil {
		return one.inode, nil
	}
	one, err := listen(ctx, l, port, address)
	if err != nil {
		return 0, err
	}
	if err := l.add(one); err != nil {
		return 0, err
	}
	if one.queues != nil {
		l.sharer.Open(one.queues)
	}
	return one.inode, nil
}

// listen opens a listener that has no acceptor yet.
func listen(ctx context.Context, l *Listeners, port portgroup.Key, address string) (*Listener, error) {
	socket, err := reuseport.Listen(ctx, port.Network, address, reuseport.Options{})
	if err != nil {
		return nil, err
	}
	one := &Listener{of: l, Key: port, address: address, socket: socket}
	if one.inode, err = reuseport.Inode(socket); err != nil {
		return nil, errline.Join(err, socket.Close())
	}
	if s := l.sharer; s != nil {
		if one.queues, err = s.Share(socket); err != nil {
			return nil, err
		}
	}
	return one, nil
}

// add gives a new listener to its acceptor.
func (l *Listeners) add(one *Listener) error {
	var below net.Listener = one.socket
	if one.queues != nil {
		below = one.queues
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuses || l.open[one.Key] != nil {
		return errline.Join(net.ErrClosed, below.Close())
	}
	if one.Acceptor = l.rejoining[one.Key]; one.Acceptor == nil {
		one.Acceptor = serve.NewAcceptor(below)
	} else if err := one.Resume(below); err != nil {
		return err
	}
	l.open[one.Key] = one
	return nil
}

// Shut closes the listener of a port.
func (l *Listeners) Shut(_ context.Context, port portgroup.Key) error {
	one, err := l.Get(port)
	if err != nil {
		return err
	}
	return l.shut(one)
}

func (l *Listeners) shut(one *Listener) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[one.Key] == one {
		delete(l.open, one.Key)
	}
	if one.queues != nil {
		l.sharer.Shut(one.queues)
	}
	_ = reuseport.Hide(one.socket) // where it cannot be, the close may lose a connection, as it always did
	if l.rejoining[one.Key] == one.Acceptor && !l.refuses {
		return one.Suspend()
	}
	return one.Shut()
}

// Rejoin begins to leave the group of a port and to join it again. The server notices nothing.
func (l *Listeners) Rejoin(_ context.Context, port portgroup.Key) error {
	one, err := l.Get(port)
	if err != nil {
		return err
	}
	if l.Steerer() == nil {
		return fmt.Errorf("the group of %s has no master", one.address)
	}
	go one.rejoin() // ends within longestRejoin, or with the node
	return nil
}

// Attach attaches a program.
func (l *Listeners) Attach(_ context.Context, port portgroup.Key, s reuseport.Steering, until time.Duration) error {
	one, err := l.Get(port)
	if err != nil {
		return err
	}
	if until != 0 && monotonic.Now() > until {
		return fmt.Errorf("the program for %s is too late: another one may be attached by now", one.address)
	}
	return reuseport.Attach(one.socket, s)
}

// Help sets whether the listener of a port accepts from the queues of other nodes.
func (l *Listeners) Help(_ context.Context, port portgroup.Key, is bool) error {
	one, err := l.Get(port)
	if err != nil || one.queues == nil {
		return err
	}
	return one.queues.Help(is)
}

// SetCPU sets SO_INCOMING_CPU of the listener of a port.
func (l *Listeners) SetCPU(_ context.Context, port portgroup.Key, cpu int) error {
	one, err := l.Get(port)
	if err != nil {
		return err
	}
	return reuseport.SetIncomingCPU(one.socket, cpu)
}

// Keep keeps a snapshot, if it is the newest.
func (l *Listeners) Keep(_ context.Context, port portgroup.Key, s portgroup.Snapshot) error {
	if _, err := l.Get(port); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.IsNewer(l.snapshots[port]) {
		l.snapshots[port] = &s
	}
	return nil
}
