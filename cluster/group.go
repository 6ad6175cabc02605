package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// How long the master waits for a node.
const (
	callTimeout     = 2 * time.Second        // for an answer that costs a system call
	attachTimeout   = 200 * time.Millisecond // for the same, when another member can do it
	quickTimeout    = 50 * time.Millisecond  // for one who is well
	questionTimeout = 500 * time.Millisecond // for the one who has accepted a question, from its connect
	lookInterval    = time.Second            // between two looks at the kernel's list of listeners
	maxLooks        = 5                      // in a row, while members come and go
)

// party is a node as the master deals with it.
type party struct {
	id      int
	pid     int
	ask     atomic.Pointer[func(context.Context, message) (message, error)]
	ready   atomic.Bool // it serves
	suspect atomic.Bool // it does not answer
}

// member is a listener in the group of a port.
type member struct {
	*party  // nil: it is no node's
	inode   uint32
	leaving bool
	foreign bool // it is a stranger's
}

// standing returns what the rules make of a member.
func (m *member) standing() standing {
	switch {
	case m.foreign:
		return stranger
	case m.party == nil:
		return unproved
	case m.leaving:
		return leaving
	case !m.ready.Load():
		return warming
	case m.suspect.Load():
		return suspect
	default:
		return trusted
	}
}

// group is the group of one port, as its master keeps it: who is in it, at which index, and who gets new connections.
//
// Joins, leaves and looks take turns, so that the order of the kernel's array is known: a join appends, a leave moves
// the last member to the free index (reuseport_add_sock and __reuseport_detach_sock in net/core/sock_reuseport.c). What
// cannot be known this way, after two deaths at once, an adoption, or a stranger, is asked.
type group struct {
	key         portKey
	address     string
	reservation *reuseport.Reservation
	rung        reuseport.Rung
	steering    *steering // to tell what is found

	turn chan struct{} // holds a value while somebody has the turn; what follows is theirs
	seen []*member     // all members that are known, in no order
	// order is the picture. It holds while certain is true.
	order   *reuseport.Order[*member]
	certain bool
	touched bool // we have let somebody join or leave since the last look at the kernel's list
	lost    bool // somebody has no place in the order, as it did not answer
	// epoch names the time since which no exclusion was broken. It counts from 1.
	epoch     int
	complaint string          // the last
	sink      *reuseport.Sink // nil until the cluster stops
	drain     *member         // of sink

	mu      sync.Mutex
	drawing drawing // guarded by mu; for Status
}

// drawing is what Status shows of a group.
type drawing struct {
	certain   bool
	weight    map[int]float64 // by id, in percent
	strangers []Stranger
}

// newGroup makes the group of a port that is reserved, or on which programs listen that do not ask us for it.
func newGroup(key portKey, reservation *reuseport.Reservation, s *steering) *group {
	address := key.Address
	if reservation != nil {
		address = reservation.Addr().String()
	}
	return &group{
		key: key, address: address, reservation: reservation, rung: s.rung, steering: s,
		turn: make(chan struct{}, 1), order: reuseport.NewOrder[*member](), certain: true, epoch: 1,
	}
}

func (g *group) take(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a turn at %s: %w", g.address, ctx.Err())
	}
}

func (g *group) give() { <-g.turn }

// join lets a node into the group: it is asked to listen, and gets connections when it is known to be there.
func (g *group) join(ctx context.Context, p *party) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	answer, err := g.call(ctx, p, message{Kind: kindOpen, Address: g.address})
	if err != nil {
		if errors.Is(err, errUnlinked) || errors.Is(err, context.DeadlineExceeded) {
			g.doubt() // it may have come to listen
		}
		return err
	}
	m := &member{party: p, inode: answer.Inode}
	g.seen = append(g.seen, m)
	g.order.Join(m)
	g.touched = true
	if g.certain {
		g.settle(ctx)
	} else { // the node is to accept at once what the hash sends it, and not to wait for questions
		g.steering.kick()
	}
	return nil
}

// exclude lets no new connection come to a node. The epoch that it returns is for leave; 0 says that the node gets
// connections all the same.
func (g *group) exclude(ctx context.Context, p *party) (int, error) {
	if err := g.take(ctx); err != nil {
		return 0, err
	}
	defer g.give()
	m := g.memberOf(p)
	if m == nil {
		return 0, g.notHere(p)
	}
	m.leaving = true
	if !g.settle(ctx) || g.shareOf(m) > 0 {
		return 0, nil
	}
	return g.epoch, nil
}

// leave lets a node out of the group that has been excluded since epoch, and has nothing left to accept. It returns true
// when the node is to be excluded again, as it may have got connections meanwhile.
func (g *group) leave(ctx context.Context, p *party, epoch int) (again bool, err error) {
	if err := g.take(ctx); err != nil {
		return false, err
	}
	defer g.give()
	m := g.memberOf(p)
	if m == nil {
		return false, g.notHere(p)
	}
	if epoch != 0 && (!g.settle(ctx) || g.epoch != epoch) {
		return true, nil
	}
	moved := g.makeRoom(ctx)
	if _, err := g.call(ctx, p, message{Kind: kindShut}); err != nil {
		g.doubt()
		return false, err
	}
	g.drop(m)
	g.order.Leave(m)
	g.touched = true
	if !moved {
		g.epoch++
	}
	g.settle(ctx)
	g.wake(ctx)
	return false, nil
}

// makeRoom prepares for a leave. The last member will move to the free index, and the last index will be beyond the
// group, where the hash decides and may choose somebody who is leaving too. So the last gets nothing for a moment. It
// returns false if that cannot be, as nobody else is there.
func (g *group) makeRoom(ctx context.Context) bool {
	shares, last := g.weights(), g.order.Len()-1
	if shares == nil || shares[last] == 0 {
		return true
	}
	shares[last] = 0
	if !slices.ContainsFunc(shares, func(share uint32) bool { return share > 0 }) {
		return false
	}
	return g.attach(ctx, reuseport.Steering{Weights: shares}) == nil
}

func (g *group) notHere(p *party) error {
	return fmt.Errorf("node %d does not listen on %s: %w", p.id, g.address, net.ErrClosed)
}

// look compares the picture with the kernel, and draws it anew where it has to.
func (g *group) look(ctx context.Context) {
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	g.settle(ctx)
}

// adopt takes note of a listener that is in the group already, nobody knows where.
func (g *group) adopt(ctx context.Context, p *party, inode uint32) {
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	if g.memberOf(p) != nil {
		return
	}
	g.seen = slices.DeleteFunc(g.seen, func(m *member) bool { return m.inode == inode })
	g.seen = append(g.seen, &member{party: p, inode: inode})
	g.doubt()
}

// seal makes a member of the group that takes nothing, and steers all new connections to it: their SYNs are dropped, and
// come again a second later, when somebody else may listen.
func (g *group) seal(ctx context.Context) error {
	if g.rung < reuseport.RungBPF {
		return nil
	}
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	if !g.settle(ctx) || g.weights() == nil {
		return errors.New("who has which part of the connections is not known")
	}
	sink, err := reuseport.NewSink(ctx, g.key.Network, g.address)
	if err != nil {
		return err
	}
	inode, err := reuseport.Inode(sink)
	if err != nil {
		return join(err, sink.Close())
	}
	m := &member{inode: inode}
	g.seen = append(g.seen, m)
	g.order.Join(m)
	weights := append(make([]uint32, g.order.Len()-1), 1)
	attach := func(s reuseport.Steering) error { return g.attach(ctx, s) }
	if err := sink.Fill(ctx, g.order.Index(m), attach, weights); err != nil {
		g.drop(m)
		g.doubt()
		err = join(err, sink.Close())
		g.settle(ctx)
		return err
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
		err = join(err, g.sink.Close())
	}
	return err
}

// call asks a node something about this port.
func (g *group) call(ctx context.Context, p *party, q message) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	q.Port = &g.key
	ask := p.ask.Load()
	if ask == nil {
		return message{}, errUnlinked
	}
	return (*ask)(ctx, q)
}

func (g *group) memberOf(p *party) *member {
	for _, m := range g.seen {
		if m.party == p {
			return m
		}
	}
	return nil
}

func (g *group) drop(m *member) {
	g.seen = slices.DeleteFunc(g.seen, func(o *member) bool { return o == m })
}

// doubt says that the picture may be wrong, and that whoever is excluded may have got connections.
func (g *group) doubt() {
	g.certain = false
	g.epoch++
}

// settle makes the picture agree with the kernel's list of listeners, and steers accordingly. It returns whether new
// connections go where they are meant to.
func (g *group) settle(ctx context.Context) bool {
	for range maxLooks {
		listed, err := g.listed(ctx)
		if err != nil {
			g.steering.logger.Warn("the listeners of the port cannot be listed: the kernel's hash decides",
				"address", g.address, "error", err)
			g.doubt()
			break
		}
		g.reconcile(ctx, listed)
		if g.certain || g.rung < reuseport.RungBPF {
			break
		}
		g.identify(ctx, listed)
	}
	if g.rung < reuseport.RungBPF {
		g.certain = true // there is no picture to be wrong
	}
	err := g.publish(ctx)
	g.complain(ctx, err)
	g.draw()
	return err == nil && g.certain
}

// complain says in the log that connections cannot be steered, once for each reason.
func (g *group) complain(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	var complaint string
	if err != nil {
		complaint = err.Error()
	}
	if complaint != "" && complaint != g.complaint {
		g.steering.logger.Warn("connections cannot be steered: the kernel's hash decides", "address", g.address, "error", err)
	}
	g.complaint = complaint
}

// target returns the address that questions go to.
func (g *group) target() (*net.TCPAddr, error) { return net.ResolveTCPAddr(g.key.Network, g.address) }

// listed returns the inodes of the kernel's list.
func (g *group) listed(ctx context.Context) ([]uint32, error) {
	listeners, err := reuseport.Listeners(ctx, g.key.Network, g.address)
	if err != nil {
		return nil, err
	}
	var inodes []uint32
	for _, l := range listeners {
		inodes = append(inodes, l.Inode)
	}
	return inodes, nil
}

// reconcile makes the members those that the kernel lists. One that has died alone has left its index to the last; in
// all other cases the picture is uncertain.
func (g *group) reconcile(ctx context.Context, listed []uint32) {
	known := make(map[uint32]bool)
	var gone []*member
	for _, m := range g.seen {
		known[m.inode] = true
		if !slices.Contains(listed, m.inode) {
			gone = append(gone, m)
		}
	}
	if len(gone) > 0 {
		g.epoch++ // what has moved to a free index may have got connections
	}
	for _, m := range gone {
		g.drop(m)
		if !g.order.Leave(m) || len(gone) > 1 {
			g.certain = false
		}
	}
	// Who has come by himself while nobody else came or went, has been appended: there is nothing to ask.
	appended := g.certain && !g.touched && len(gone) == 0
	for _, inode := range listed {
		if !known[inode] {
			g.meet(ctx, inode, appended)
		}
	}
	g.touched = false
	if g.lost && slices.ContainsFunc(g.seen, g.isLost) {
		g.certain = false
	}
}

// isLost tells whether a node that could tell where it sits has no place in the order.
func (g *group) isLost(m *member) bool {
	return m.party != nil && !m.suspect.Load() && g.order.Index(m) < 0
}

// meet takes note of a listener that nobody has told us of: a stranger's, or that of a worker which is being adopted.
func (g *group) meet(ctx context.Context, inode uint32, appended bool) {
	p := g.steering.holder(ctx, g, inode)
	m := &member{party: p, inode: inode, foreign: p == nil}
	g.seen = append(g.seen, m)
	if appended {
		g.order.Join(m)
	} else {
		g.doubt()
	}
}

// publish steers new connections by the picture.
func (g *group) publish(ctx context.Context) error {
	switch g.rung {
	case reuseport.RungBPF, reuseport.RungBPFMigrate:
		return g.attach(ctx, reuseport.Steering{Weights: g.weights()})
	case reuseport.RungIncomingCPU:
		return g.cover(ctx)
	default:
		return nil
	}
}

func (g *group) standings() []standing {
	members := g.order.Members()
	if g.rung < reuseport.RungBPF {
		members = g.seen // the order has no part in it
	}
	var all []standing
	for _, m := range members {
		all = append(all, m.standing())
	}
	return all
}

// weights returns the weights by index: none while the picture is uncertain.
func (g *group) weights() []uint32 {
	switch {
	case g.rung < reuseport.RungBPF || !g.certain || len(g.seen) == 0:
		return nil
	case g.sink != nil && g.order.Index(g.drain) >= 0:
		shares := make([]uint32, g.order.Len())
		shares[g.order.Index(g.drain)] = 1
		return shares
	default:
		return weights(g.standings())
	}
}

// shareOf returns what a member gets of the new connections, in percent, as far as it is steered; -1 where the hash
// decides.
func (g *group) shareOf(m *member) float64 {
	if g.rung < reuseport.RungBPF {
		if i := slices.Index(g.seen, m); i >= 0 && g.rung == reuseport.RungIncomingCPU {
			if c := cover(g.standings(), reuseport.OnlineCPUs()); c != nil && c[i] < 0 {
				return 0
			}
		}
		return 100
	}
	shares := g.weights()
	if shares == nil {
		return 100
	}
	var sum, own float64
	for i, share := range shares {
		sum += float64(share)
		if i == g.order.Index(m) {
			own = float64(share)
		}
	}
	return 100 * own / sum
}

// attach attaches a program through whichever member does it: our own first, as it costs no message.
func (g *group) attach(ctx context.Context, s reuseport.Steering) error {
	if len(g.seen) == 0 {
		return nil
	}
	if g.sink != nil {
		return reuseport.Attach(g.sink, s)
	}
	errs := errors.New("no member can attach the program")
	callable := g.callable()
	for i, m := range callable {
		timeout := attachTimeout
		if i == len(callable)-1 { // nobody else is left to try
			timeout = callTimeout
		}
		err := g.attachThrough(ctx, m, s, timeout)
		if err == nil {
			return nil
		}
		errs = fmt.Errorf("%w; node %d: %w", errs, m.id, err)
	}
	return errs
}

// attachThrough lets one member attach a program, unless it takes too long to do it: a process that was stopped is not to
// attach an old program when it goes on.
func (g *group) attachThrough(ctx context.Context, m *member, s reuseport.Steering, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	until := monotonic() + timeout
	_, err := g.call(ctx, m.party, message{Kind: kindAttach, Steering: &s, Until: until})
	if errors.Is(err, context.DeadlineExceeded) {
		g.epoch++ // it may do it in this moment
	}
	return err
}

// callable returns the members that can be asked: the master's own first, those that are suspect last.
func (g *group) callable() []*member {
	var first, last []*member
	for _, m := range g.seen {
		switch {
		case m.party == nil:
		case m.suspect.Load():
			last = append(last, m)
		case m.id == g.steering.self:
			first = slices.Insert(first, 0, m)
		default:
			first = append(first, m)
		}
	}
	return append(first, last...)
}

// cover steers by SO_INCOMING_CPU.
func (g *group) cover(ctx context.Context) (err error) {
	cpus := cover(g.standings(), reuseport.OnlineCPUs())
	for i, m := range g.seen {
		if m.party == nil {
			continue
		}
		cpu := -1
		if cpus != nil {
			cpu = cpus[i]
		}
		if _, callErr := g.call(ctx, m.party, message{Kind: kindCPU, CPU: cpu}); callErr != nil && !m.suspect.Load() {
			err = join(err, fmt.Errorf("node %d: %w", m.id, callErr))
		}
	}
	return err
}

// wake makes all members accept once, on kernels that move the queue of a closed listener to another and wake nobody
// there.
func (g *group) wake(ctx context.Context) {
	if g.rung != reuseport.RungBPFMigrate || g.steering.support.WakesMigrated {
		return
	}
	for _, m := range g.callable() {
		g.steering.running.Go(func() { // ends within callTimeout
			_, _ = g.call(ctx, m.party, message{Kind: kindProbe}) // one that does not answer is found by others
		})
	}
}

// draw remembers the picture for Status.
func (g *group) draw() {
	d := drawing{certain: g.certain, weight: make(map[int]float64)}
	steered := g.rung >= reuseport.RungBPF && g.weights() != nil
	for _, m := range g.seen {
		switch {
		case m.foreign:
			d.strangers = append(d.strangers, g.steering.strangerOf(m.inode, g.address))
		case steered && m.party != nil:
			d.weight[m.id] = g.shareOf(m)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drawing = d
}

func (g *group) drawn() drawing {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.drawing
}
