// Package steering steers the new connections of the ports that processes share. It keeps the members of each port's group,
// probes what it does not know, attaches the programs that choose a member, and watches for processes that are not ours.
package steering

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

const (
	lookInterval  = 100 * time.Millisecond // between two looks at the kernel's list of listeners
	looksToSettle = 10                     // of them, whether or not the list has changed, until the steering is renewed
	dyingTime     = 300 * time.Millisecond // for the kernel to close what a process with a large heap had open
)

// Steering holds the ports of a cluster for its life, and steers the group of each. The master has it; workers ask. All methods
// may be called at the same time.
type Steering struct {
	*environment
	groups *groups
	looks  chan struct{} // holds a value when run is to look at the groups

	// inherited is closed when all that nodes have from the time of another master is known. An earlier
	// request would get another port in place of port 0, and a place in a group of which the master knows nothing.
	inherited chan struct{}
}

// New chooses the steering level: the best, or the one that is forced. Nothing runs before Start.
func New(c Config) (*Steering, error) {
	if c.Kernel == nil {
		c.Kernel = kernel.Host()
	}
	support := c.Kernel.Support()
	level := support.Rung
	if c.Force != "" {
		wanted, err := reuseport.ParseRung(c.Force)
		if err != nil {
			return nil, err
		}
		if wanted > level {
			return nil, fmt.Errorf("steering by %q is not available here: the best is %q (multinode doctor says why)",
				wanted, level)
		}
		level = wanted
	}
	return &Steering{
		environment: newEnvironment(c, support, level), groups: newGroups(), looks: make(chan struct{}, 1), inherited: make(chan struct{}),
	}, nil
}

// Level returns how connections are steered at best.
func (s *Steering) Level() reuseport.Rung { return s.level }

// Open permits nodes to join and to reserve ports: all listeners that nodes have from a previous master are known.
func (s *Steering) Open() { close(s.inherited) }

// Start begins to look after the groups. The master's own node has the id self; lent is nil where queues are not shared.
func (s *Steering) Start(self int, lent Lent) {
	s.self, s.lent = self, lent
	s.Go(s.follow)
	s.Go(s.run)
}

// Pause says whether a node is kept out of new connections. A paused node still gets connections while no other node does. It accepts
// nothing from the queues of others when Pause returns, if it answers.
func (s *Steering) Pause(id int, is bool) {
	one, err := s.get(id)
	if err != nil {
		return
	}
	one.paused.Store(is)
	for _, g := range s.groups.all() {
		_ = one.help(s.ctx, g.key) // a node that is not on that port, hangs, or is of an older version
	}
	s.kick()
}

// follow steers by each change at once: run may be waiting for the answer to a probe, of a node that was stopped in this moment.
// It is a goroutine that ends with Close, which waits for it.
func (s *Steering) follow() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.kicks:
		}
		for _, g := range s.groups.all() {
			g.review(s.ctx)
		}
		select {
		case s.looks <- struct{}{}:
		default:
		}
	}
}

// run looks at the groups when a node has died or become suspect, and from time to time. It is a goroutine that ends with Close,
// which waits for it.
func (s *Steering) run() {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for looks := 1; ; looks++ {
		always := looks%looksToSettle == 0
		select {
		case <-s.ctx.Done():
			return
		case <-s.looks:
			always = true
		case <-ticker.C:
		}
		for _, g := range s.groups.all() {
			if always || g.changed(s.ctx) {
				g.look(s.ctx)
			}
		}
	}
}

// group returns the group of the port that key names. The first to ask reserves the port.
func (s *Steering) group(ctx context.Context, key portgroup.Key) (*group, error) {
	return s.groupBy(ctx, key, func() (kernel.Reservation, error) {
		r, err := s.kernel.Reserve(ctx, key.Network, key.Address)
		if err != nil {
			return nil, explain(ctx, s.kernel, key, err)
		}
		return r, nil
	})
}

func (s *Steering) groupBy(ctx context.Context, key portgroup.Key, reserve func() (kernel.Reservation, error)) (*group, error) {
	return s.groups.open(ctx, key, func() (*group, error) {
		reservation, err := reserve()
		if err != nil {
			return nil, err
		}
		return newGroup(key, reservation, s.environment), nil
	})
}

// Seal keeps new connections from being established on all ports that can be steered: the cluster stops.
func (s *Steering) Seal(ctx context.Context) {
	for _, g := range s.groups.all() {
		if err := g.seal(ctx); err != nil {
			s.logger.Warn("connections that arrive while the cluster stops may be lost", "address", g.address, "error", err)
		}
	}
}

// Close ends all goroutines, and releases the ports.
func (s *Steering) Close() (err error) {
	s.end()
	return s.groups.close()
}

// LeftListeners returns the listeners that are left on the ports, when all nodes have ended. The kernel may take a moment to
// remove a socket: LeftListeners waits for that, for dyingTime at most.
func (s *Steering) LeftListeners() (left []reuseport.Owner) {
	ctx, cancel := context.WithTimeout(context.Background(), dyingTime)
	defer cancel()
	for _, g := range s.groups.all() {
		var sink uint32
		if g.drain != nil {
			sink = g.drain.Inode
		}
		left = append(left, g.left(ctx, sink)...)
	}
	return left
}

// Main returns the main port and its address, or where the master does not know that, the port that most nodes share.
func (s *Steering) Main(key portgroup.Key) (main portgroup.Key, address string, ok bool) {
	g := s.groups.main(key)
	if g == nil {
		return key, "", false
	}
	return g.key, g.address, true
}

// Address reserves a port, unless that was done before, and returns its address.
func (s *Steering) Address(ctx context.Context, key portgroup.Key) (net.Addr, error) {
	g, err := s.group(ctx, key)
	if err != nil {
		return nil, err
	}
	return g.reservation.Addr(), nil
}

// PortAt returns the port that has an address, and else which addresses there are.
func (s *Steering) PortAt(key portgroup.Key, addr *net.TCPAddr) (port portgroup.Key, others []string, ok bool) {
	for _, g := range s.groups.all() {
		target, err := g.target()
		if g.key == key || err == nil && target.String() == addr.String() {
			return g.key, nil, true
		}
		others = append(others, g.address)
	}
	return key, others, false
}
