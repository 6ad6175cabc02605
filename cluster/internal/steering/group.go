package steering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/sightings"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// How long the master waits for a node.
const (
	callTimeout   = 2 * time.Second        // for an answer that costs a system call
	attachTimeout = 200 * time.Millisecond // for the same, when another member can do it
	quickTimeout  = 50 * time.Millisecond  // for an agent that is well
	probeTimeout  = 500 * time.Millisecond // for the node that has accepted a probe, from its connect
	lookInterval  = 100 * time.Millisecond // between two looks at the kernel's list of listeners
	looksToSettle = 10                     // of them, whether or not the list has changed, until the steering is renewed
	dyingTime     = 300 * time.Millisecond // for the kernel to close what a process with a large heap had open
	looksToFind   = 3                      // of them, until a listener that no process holds is a stranger's: the kernel may be closing it
)

// member is a listener in the group of a port, or a hole.
type member = portgroup.Member[*agent]

// group is the group of one port, as its master keeps it: its members, their indexes, and which of them get new connections.
//
// Joins, leaves and looks take turns, so that their order is known to the map. The kernel is asked about the holes of the
// map, by one look at a time, which does not hold the turn while it waits for an answer.
type group struct {
	port
	reservation Reservation // nil: of programs that listen by themselves
	steering    *Steering

	turn // the fields below belong to the goroutine that has it, but for shown
	program
	obstacle  string // why the level is not the best that this kernel has; "": it is
	watch     watch  // over the program
	resolver  resolver
	strangers strangers
	replicas  replicas
	complaint string // the last
	shown     shown
}

// newGroup makes the group of a port that is reserved, or on which programs listen that do not ask us for it.
func newGroup(key portgroup.Key, reservation Reservation, s *Steering) *group {
	address := key.Address
	if reservation != nil {
		address = reservation.Addr().String()
	}
	g := &group{
		port: port{s.kernel, key, address}, reservation: reservation, steering: s, turn: newTurn(address, s.ctx.Done()),
	}
	g.program = program{port: &g.port, nodes: portgroup.New[*agent](), agents: s.agents, level: s.level, watch: &g.watch}
	g.watch.group = g
	g.resolver = resolver{group: g, looks: newTurn(address, s.ctx.Done())}
	g.strangers = strangers{g, make(map[*member]*sightings.Sighting)}
	g.replicas.group = g
	return g
}

// probe returns a probe of the group.
func (g *group) probe(conn ProbeConn) *probe {
	return &probe{ProbeConn: conn, port: &g.port, steering: g.steering}
}

func (g *group) status() groupStatus { return g.shown.get() }

// join lets a node into the group: it is asked to listen. It is the last one then, so that no probe has to be waited
// for.
func (g *group) join(ctx context.Context, a *agent) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	var inode uint32
	err := a.call(ctx, func(ctx context.Context, link portgroup.Agent) (err error) {
		inode, err = link.Open(ctx, g.key, g.address)
		return err
	})
	if err != nil {
		g.steering.kick() // it may have come to listen all the same
		return err
	}
	if m := g.nodes.ByInode(inode); m != nil { // it listens already: it has not left, or asks again as it got no answer
		g.nodes.Adopt(a, inode)
		delete(g.strangers.met, m)
		m.Leaving = false
	} else {
		g.nodes.Join(&member{Node: a, Inode: inode})
	}
	_ = g.settle(ctx) // which complains
	if !g.certain() {
		g.steering.kick()
	}
	return nil
}

// exclude lets no new connection come to a node. The epoch that it returns is for leave; 0 says that the node may get
// connections all the same, and later whether that may change soon.
func (g *group) exclude(ctx context.Context, a *agent) (epoch int, later bool, err error) {
	if err := g.take(ctx); err != nil {
		return 0, false, err
	}
	defer g.give()
	m := g.nodes.Of(a)
	if m == nil {
		return 0, false, g.notHere(a)
	}
	m.Leaving = true
	err = g.settle(ctx)
	switch {
	case g.level < reuseport.RungBPF:
		return 0, false, nil // most are elsewhere
	case err == nil && g.excludes(m):
		return g.nodes.Epoch(), false, nil
	case err == nil && g.certain() && !g.watch.on:
		return 0, false, nil // no other node is there
	default:
		g.steering.kick()
		return 0, true, nil
	}
}

// leave removes a drained node from the group if its exclusion has held since epoch. It returns true when the node is to be
// excluded again, as it may have got connections meanwhile.
func (g *group) leave(ctx context.Context, a *agent, epoch int) (again bool, err error) {
	if err := g.take(ctx); err != nil {
		return false, err
	}
	defer g.give()
	m := g.nodes.Of(a)
	switch {
	case m == nil && epoch == 0: // its listener is hidden, and so the kernel lists it no more
		return false, a.shut(ctx, g.key)
	case m == nil:
		return false, g.notHere(a)
	}
	if epoch != 0 {
		if err := g.settle(ctx); err != nil || !g.excludes(m) || g.nodes.Epoch() != epoch {
			return true, nil
		}
	}
	// The member that moves to its index gets what it gets, and may be excluded.
	safe := g.makeRoom(ctx) && (g.excludes(m) || g.level < reuseport.RungBPF)
	if err := a.shut(ctx, g.key); err != nil {
		g.doubt()
		return false, err
	}
	g.nodes.Leave(m)
	if !safe {
		g.nodes.Leak()
	}
	_ = g.settle(ctx) // which complains
	g.wake(ctx)
	return false, nil
}

func (g *group) notHere(a *agent) error {
	return fmt.Errorf("node %d does not listen on %s: %w", a.id, g.address, net.ErrClosed)
}

// look compares the map with the kernel, and asks about what is not known. Of several looks one goes on at a time.
func (g *group) look(ctx context.Context) {
	if g.resolver.looks.take(ctx) != nil {
		return
	}
	defer g.resolver.looks.give()
	g.watch.verify(ctx)
	steered := g.review(ctx)
	found := g.strangers.meet(ctx)
	g.watch.accuse(ctx)
	asked := g.resolver.resolve(ctx)
	if found || asked {
		steered = g.review(ctx)
	}
	if steered {
		g.reorder(ctx)
	}
}

// review settles, in a turn of its own. It returns whether new connections go where they are meant to.
func (g *group) review(ctx context.Context) bool {
	if g.take(ctx) != nil {
		return false
	}
	defer g.give()
	return g.settle(ctx) == nil && g.certain()
}

// changed tells whether the kernel's list differs from the members that are known, or there is something to find out.
func (g *group) changed(ctx context.Context) bool {
	if !g.try() {
		return false // another goroutine is at it
	}
	defer g.give()
	listed, err := g.listed(ctx)
	return err != nil || len(listed) != len(g.nodes.Members()) ||
		slices.ContainsFunc(g.nodes.Members(), func(m *member) bool { return m.Unmet > 0 || !slices.Contains(listed, m.Inode) }) ||
		g.watch.due(time.Now()) || g.steering.sightings.Hunting(g.address)
}

// hasUnknown tells whether the kernel lists a listener that was not seen before.
func (g *group) hasUnknown(ctx context.Context) bool {
	unknown, err := g.hasListener(ctx, func(l reuseport.Listener) bool { return g.nodes.ByInode(l.Inode) == nil })
	return err == nil && unknown
}

// adopt takes note of a listener that is in the group already, and of the snapshot that another master had.
func (g *group) adopt(ctx context.Context, a *agent, inode uint32, told *portgroup.Snapshot) {
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	if told != nil {
		g.nodes.Tell(told)
	}
	g.nodes.Adopt(a, inode)
	delete(g.strangers.met, g.nodes.Of(a))
	g.consider()
}

// consider chooses how the group is steered: not at all while one of its members cannot be. The log says so once.
func (g *group) consider() {
	before := g.obstacle
	g.level, g.obstacle = g.steering.level, ""
	for _, m := range g.nodes.Members() {
		if m.Node != nil && m.Node.obstacle != "" {
			g.level, g.obstacle = reuseport.RungHash, m.Node.obstacle
		}
	}
	if g.obstacle != "" && g.obstacle != before {
		g.steering.logger.Warn("connections cannot be steered: the kernel's hash decides", "address", g.address, "reason", g.obstacle)
	}
}

var errUncertain = errors.New("it is not known which member has which part of the connections")

// seal makes a member of the group that takes nothing, and steers all new connections to it: their SYNs are dropped, and
// come again a second later, when another process may listen. It asks the kernel only where it has to: the nodes may be
// leaving by themselves already, each on a signal of its own.
func (g *group) seal(ctx context.Context) error {
	if g.level < reuseport.RungBPF {
		return nil
	}
	err := g.sealKnown(ctx)
	if errors.Is(err, errUncertain) {
		g.look(ctx)
		err = g.sealKnown(ctx)
	}
	return err
}

// sealKnown is seal, if the order is known.
func (g *group) sealKnown(ctx context.Context) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	err := g.settle(ctx)
	if err == nil && len(g.nodes.Members()) == 0 {
		return nil // no process listens
	}
	if err != nil || !g.certain() {
		return errline.Join(errUncertain, err)
	}
	if g.nodes.Steering() == nil { // all are leaving: the hash would give the sink its part before it is full
		if err := g.attach(ctx, reuseport.Steering{Weights: g.nodes.Evenly()}); err != nil {
			return errline.Join(errUncertain, err)
		}
	}
	sink, err := g.kernel.NewSink(ctx, g.key.Network, g.address)
	if err != nil {
		return err
	}
	inode, err := sink.Inode()
	if err != nil {
		return errline.Join(err, sink.Close())
	}
	m := &member{Inode: inode}
	g.nodes.Join(m)
	weights := append(make([]uint32, len(g.nodes.Order())-1), 1)
	attach := func(s reuseport.Steering) error { return g.attach(ctx, s) }
	if err := sink.Fill(ctx, g.nodes.Index(m), attach, weights); err != nil {
		g.nodes.Drop(m)
		g.doubt()
		err = errline.Join(err, sink.Close())
		return errline.Join(err, g.settle(ctx))
	}
	g.sink, g.drain = sink, m
	return nil
}

// close gives the port up.
func (g *group) close() (err error) {
	if g.reservation != nil {
		err = g.reservation.Close()
	}
	if g.sink != nil {
		err = errline.Join(err, g.sink.Close())
	}
	return errline.Join(err, g.watch.close())
}

// wake makes all members accept once, on kernels that move the queue of a closed listener to another one and do not wake its
// process.
func (g *group) wake(ctx context.Context) {
	if g.level != reuseport.RungBPFMigrate || g.steering.support.WakesMigrated {
		return
	}
	for _, m := range g.callable() {
		a := m.Node            // it may get another one later
		g.steering.Go(func() { // ends within callTimeout
			_ = a.poke(ctx) // one that does not answer is found by others
		})
	}
}
