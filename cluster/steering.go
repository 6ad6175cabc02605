package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// steering holds the ports of the cluster for its life, and keeps the group of each. The master has it; workers ask.
type steering struct {
	support reuseport.Support
	rung    reuseport.Rung
	logger  *slog.Logger
	tell    func(Event)
	self    int // id of the master's node

	kicks   chan struct{}      // holds a value when run is to look at the groups
	cancel  context.CancelFunc // ends run and all that waits for a node
	ctx     context.Context    // of run; what it starts has no caller to give one
	running sync.WaitGroup     // of all goroutines

	// inherited is closed when all that nodes have from the time of another master is known. Who asked before would get
	// another port in place of port 0, and a place in a group of which the master knows nothing.
	inherited chan struct{}

	reserving sync.Mutex // held while a port is reserved, which may take the time of a look-up of a name

	mu        sync.Mutex // guards what follows
	groups    map[portKey]*group
	parties   map[int]*party
	strangers map[uint32]Stranger // by inode; each is reported once
	closed    bool
}

// newSteering chooses the rung: the best, or the one that forced names.
func newSteering(forced string, logger *slog.Logger, tell func(Event)) (*steering, error) {
	support := reuseport.Probe()
	rung := support.Rung
	if forced != "" {
		wanted, err := reuseport.ParseRung(forced)
		if err != nil {
			return nil, err
		}
		if wanted > rung {
			return nil, fmt.Errorf("steering by %q is not to be had here: the best is %q (multinode doctor says why)",
				wanted, rung)
		}
		rung = wanted
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &steering{
		support: support, rung: rung, logger: logger, tell: tell,
		kicks: make(chan struct{}, 1), ctx: ctx, cancel: cancel, inherited: make(chan struct{}),
		groups: make(map[portKey]*group), parties: make(map[int]*party), strangers: make(map[uint32]Stranger),
	}, nil
}

// start begins to look after the groups.
func (s *steering) start(self int) {
	s.self = self
	s.running.Go(s.run)
}

// run looks at the groups when somebody has died or become suspect, and from time to time. It is a goroutine that ends
// with close, which waits for it.
func (s *steering) run() {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.kicks:
		case <-ticker.C:
		}
		for _, g := range s.all() {
			g.look(s.ctx)
		}
	}
}

// kick makes run look at the groups now.
func (s *steering) kick() {
	select {
	case s.kicks <- struct{}{}:
	default:
	}
}

func (s *steering) all() (all []*group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		all = append(all, g)
	}
	return all
}

// expect makes a node known that will be linked some time.
func (s *steering) expect(id, pid int) *party {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parties[id]
	if p == nil {
		p = &party{id: id, pid: pid}
		s.parties[id] = p
	}
	return p
}

// enter makes a node known with which the master is linked by call: for the first time, or anew.
func (s *steering) enter(id, pid int, call func(context.Context, message) (message, error)) *party {
	p := s.expect(id, pid)
	p.ask.Store(&call)
	return p
}

// party returns a node that is known.
func (s *steering) party(id int) (*party, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parties[id]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("node %d is not linked with the master", id)
}

// ready tells that a node serves.
func (s *steering) ready(id int) {
	if p, err := s.party(id); err == nil {
		p.ready.Store(true)
		s.kick()
	}
}

// suspected tells whether a node answers.
func (s *steering) suspected(id int, suspect bool) {
	if p, err := s.party(id); err == nil {
		p.suspect.Store(suspect)
		s.kick()
	}
}

// gone tells that the process of a node is gone.
func (s *steering) gone(id int) {
	s.mu.Lock()
	delete(s.parties, id)
	s.mu.Unlock()
	s.kick()
}

// group returns the group of the port that key names. The first to ask reserves the port.
func (s *steering) group(ctx context.Context, key portKey) (*group, error) {
	return s.groupBy(key, func() (*reuseport.Reservation, error) {
		r, err := reuseport.Reserve(ctx, key.Network, key.Address)
		if err != nil {
			return nil, explain(ctx, key, err)
		}
		return r, nil
	})
}

// inheritAll takes note of the ports and listeners that a node has from the time of another master, and closes done.
func (s *steering) inheritAll(id int, seats []seatInfo, done chan<- struct{}) {
	p, err := s.party(id)
	if err != nil {
		return
	}
	s.running.Go(func() { // ends with ctx
		for _, seat := range seats {
			s.inherit(p, seat)
		}
		if len(seats) > 0 {
			s.kick()
		}
		if done != nil {
			close(done)
		}
	})
}

func (s *steering) inherit(p *party, seat seatInfo) {
	g, err := s.groupBy(seat.Port, func() (*reuseport.Reservation, error) {
		return reuseport.Rejoin(s.ctx, seat.Port.Network, seat.Address)
	})
	if err != nil {
		s.logger.Warn("a port of an adopted node cannot be kept", "id", p.id, "address", seat.Address, "error", err)
		return
	}
	if seat.Inode != 0 {
		g.adopt(s.ctx, p, seat.Inode)
	}
}

// ports returns all ports that are held.
func (s *steering) ports() (held []seatInfo) {
	for _, g := range s.all() {
		held = append(held, seatInfo{Port: g.key, Address: g.address})
	}
	return held
}

func (s *steering) groupBy(key portKey, reserve func() (*reuseport.Reservation, error)) (*group, error) {
	s.reserving.Lock()
	defer s.reserving.Unlock()
	if g, err := s.find(key); g != nil || err != nil {
		return g, err
	}
	reservation, err := reserve()
	if err != nil {
		return nil, err
	}
	g := newGroup(key, reservation, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, join(net.ErrClosed, reservation.Close())
	}
	s.groups[key] = g
	return g, nil
}

// find returns the group of a port, nil if there is none yet.
func (s *steering) find(key portKey) (*group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	return s.groups[key], nil
}

// hold takes the turn at all groups, until release is called.
func (s *steering) hold(ctx context.Context) (release func(), err error) {
	var held []*group
	release = func() {
		for _, g := range held {
			g.give()
		}
	}
	for _, g := range s.all() {
		if err := g.take(ctx); err != nil {
			release()
			return nil, err
		}
		held = append(held, g)
	}
	return release, nil
}

// seal lets no new connection be established on any port, where it can be steered: the cluster stops.
func (s *steering) seal(ctx context.Context) {
	for _, g := range s.all() {
		if err := g.seal(ctx); err != nil {
			s.logger.Warn("connections that come while the cluster stops may be lost", "address", g.address, "error", err)
		}
	}
}

// close ends all, and gives the ports up.
func (s *steering) close() (err error) {
	s.cancel()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, g := range s.groups {
		err = join(err, g.close())
	}
	s.groups = nil
	return err
}

// answer answers a question of a worker about a port.
func (s *steering) answer(ctx context.Context, id int, q message) message {
	answer, err := s.handle(ctx, id, q)
	if err != nil {
		return failure(err)
	}
	return answer
}

func (s *steering) handle(ctx context.Context, id int, q message) (m message, err error) {
	if q.Port == nil {
		return m, fmt.Errorf("the question %q names no port", q.Kind)
	}
	select {
	case <-s.inherited:
	case <-ctx.Done():
		return m, ctx.Err()
	}
	p, err := s.party(id)
	if err != nil {
		return m, err
	}
	g, err := s.group(ctx, *q.Port)
	if err != nil {
		return m, err
	}
	switch q.Kind {
	case kindJoin:
		m.Address = g.address
		err = g.join(ctx, p)
	case kindExclude:
		m.Epoch, err = g.exclude(ctx, p)
	case kindLeave:
		m.Again, err = g.leave(ctx, p, q.Epoch)
	default:
		err = fmt.Errorf("the question %q is not known here", q.Kind)
	}
	return m, err
}

// holder returns the node that has a listener, nil if it is a stranger, who is then reported once.
func (s *steering) holder(ctx context.Context, g *group, inode uint32) *party {
	found := Stranger{Address: g.address}
	owners, err := reuseport.Owners(ctx, g.key.Network, g.address)
	for _, o := range owners {
		if o.Inode != inode {
			continue
		}
		if p := s.partyOf(o.PID); p != nil {
			return p
		}
		found = Stranger{PID: o.PID, Program: o.Program, Address: o.Addr.String()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.strangers[inode]; known {
		return nil
	}
	s.strangers[inode] = found
	text := fmt.Sprintf("%s listens on %s and is no node of this cluster", found.name(), found.Address)
	if s.rung >= reuseport.RungBPF {
		text += "; it gets no connections"
	} else {
		text += "; it gets a share of the connections"
	}
	s.logger.Warn("stranger on the port", "pid", found.PID, "program", found.Program, "address", found.Address,
		"steering", s.rung.String(), "lookup_error", err)
	s.tell(Event{Kind: EventStranger, ID: -1, PID: found.PID, Text: text})
	return nil
}

// partyOf returns the node whose process that is, or has started that.
func (s *steering) partyOf(pid int) *party {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parties {
		if p.pid != 0 && (p.pid == pid || p.id != s.self && slices.Contains(descendantsOf(p.pid), pid)) {
			return p
		}
	}
	return nil
}

func (s Stranger) name() string {
	if s.PID == 0 {
		return "a process"
	}
	return fmt.Sprintf("process %d (%s)", s.PID, s.Program)
}

func (s *steering) strangerOf(inode uint32, address string) Stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.strangers[inode]; ok {
		return found
	}
	return Stranger{Address: address}
}

// status returns what Status tells of the main port.
func (s *steering) status(key portKey) (Steering, drawing) {
	out := Steering{Rung: s.rung.String(), Promise: s.rung.Promise()}
	if s.rung == s.support.Rung {
		for _, a := range s.support.Advice {
			out.Advice = append(out.Advice, Advice{Gives: a.Gives, Command: a.Command})
		}
	}
	g := s.mainGroup(key)
	if g == nil {
		return out, drawing{}
	}
	d := g.drawn()
	out.Picture, out.Strangers = d.certain, d.strangers
	return out, d
}

// mainGroup returns the group of the main port, or of the first one where the master does not know that; nil while there
// is none.
func (s *steering) mainGroup(key portKey) *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[key]; g != nil || key != (portKey{}) {
		return g
	}
	var first *group
	for _, g := range s.groups {
		if first == nil || g.address < first.address {
			first = g
		}
	}
	return first
}

// keeper is who keeps the groups for a node: the master for itself, and for a worker its master over the control
// stream.
type keeper interface {
	join(ctx context.Context, key portKey) error
	exclude(ctx context.Context, key portKey) (epoch int, err error)
	leave(ctx context.Context, key portKey, epoch int) (again bool, err error)
}

// keeping is the keeper that a node has; a master that hands over gets another. The zero value has none: the node is
// alone.
type keeping struct {
	mu sync.Mutex
	is keeper // guarded by mu
}

func (k *keeping) get() keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.is
}

func (k *keeping) set(is keeper) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.is = is
}

// local is the keeper of the master's own listeners.
type local struct {
	steering *steering
	party    *party
}

func (l local) join(ctx context.Context, key portKey) error {
	g, err := l.steering.group(ctx, key)
	if err != nil {
		return err
	}
	return g.join(ctx, l.party)
}

func (l local) exclude(ctx context.Context, key portKey) (int, error) {
	g, err := l.steering.group(ctx, key)
	if err != nil {
		return 0, err
	}
	return g.exclude(ctx, l.party)
}

func (l local) leave(ctx context.Context, key portKey, epoch int) (bool, error) {
	g, err := l.steering.group(ctx, key)
	if err != nil {
		return false, err
	}
	return g.leave(ctx, l.party, epoch)
}
