package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// steering holds the ports of the cluster for its life, and keeps the group of each. The master has it; workers ask.
type steering struct {
	support reuseport.Support
	rung    reuseport.Rung
	logger  *slog.Logger
	tell    func(control.Event)
	self    int      // id of the master's node
	program *program // whose listeners these are; nil: this one

	kicks   chan struct{}      // holds a value when follow is to steer anew
	looks   chan struct{}      // holds a value when run is to look at the groups
	cancel  context.CancelFunc // ends run and all that waits for a node
	ctx     context.Context    // of run; what it starts has no caller to give one
	running sync.WaitGroup     // of all goroutines

	// inherited is closed when all that nodes have from the time of another master is known. Who asked before would get
	// another port in place of port 0, and a place in a group of which the master knows nothing.
	inherited chan struct{}

	reserving sync.Mutex // held while a port is reserved, which may take the time of a look-up of a name

	sightings *sightings // of strangers
	pauses    bool       // accept loops pause, see Options.AcceptPauses

	mu      sync.Mutex // guards what follows
	groups  map[portKey]*group
	parties map[int]*party
	closed  bool
	elder   int      // id of the master before, while it may be there; -1: none
	holds   bool     // new groups are held, too
	held    []*group // whose turn another master has
}

// newSteering chooses the rung: the best, or the one that forced names.
func newSteering(forced string, logger *slog.Logger, tell func(control.Event)) (*steering, error) {
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
		elder: -1,
		kicks: make(chan struct{}, 1), looks: make(chan struct{}, 1), ctx: ctx, cancel: cancel, inherited: make(chan struct{}),
		groups: make(map[portKey]*group), parties: make(map[int]*party), sightings: newSightings(rung, logger, tell),
	}, nil
}

// start begins to look after the groups.
func (s *steering) start(self int) {
	s.self = self
	s.running.Go(s.follow)
	s.running.Go(s.run)
}

// follow steers by what has become known, at once: a look may be waiting for the answer to a probe, of a node that was stopped
// in this moment. It is a goroutine that ends with close, which waits for it.
func (s *steering) follow() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.kicks:
		}
		for _, g := range s.all() {
			g.review(s.ctx)
		}
		select {
		case s.looks <- struct{}{}:
		default:
		}
	}
}

// run looks at the groups when somebody has died or become suspect, and from time to time. It is a goroutine that ends
// with close, which waits for it.
func (s *steering) run() {
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
		for _, g := range s.all() {
			if always || g.changed(s.ctx) {
				g.look(s.ctx)
			}
		}
	}
}

// kick makes follow steer by what has changed, and run look at the groups, now.
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

// enter makes a node known with which the master is linked: for the first time, or anew.
func (s *steering) enter(id, pid int, agent portgroup.Agent) { s.expect(id, pid).agent.Store(&agent) }

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
		return nil, errline.Join(net.ErrClosed, g.close()) // a foreign group has no reservation
	}
	if s.holds {
		g.turn <- struct{}{}
		s.held = append(s.held, g)
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
		err = errline.Join(err, g.close())
	}
	s.groups = nil
	return err
}

// status returns what Status tells of the main port.
func (s *steering) status(key portKey) (control.Steering, groupStatus) {
	rung, promise := s.promise()
	out := control.Steering{Rung: rung.String(), Promise: promise}
	if rung == s.support.Rung {
		for _, a := range s.support.Advice {
			out.Advice = append(out.Advice, control.Advice{Gives: a.Gives, Command: a.Command})
		}
	}
	g := s.mainGroup(key)
	if g == nil {
		return out, groupStatus{}
	}
	d := g.status()
	out.Picture, out.Strangers, out.Contested = d.certain, d.strangers, d.contested
	if d.contested {
		out.Promise = "Nothing is promised while another process replaces the program that steers."
	}
	if !d.asking.IsZero() {
		out.Doing, out.Since = doingAsk, d.asking
	}
	return out, d
}

// doingAsk is what a master does that fills holes.
const doingAsk = "asking the kernel which node sits at which index of the group"

// mainGroup returns the group of the main port, or where the master does not know that, of the port that most nodes share;
// nil while there is none.
func (s *steering) mainGroup(key portKey) *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[key]; g != nil || key != (portKey{}) {
		return g
	}
	var first *group
	most := 0
	for _, g := range s.groups {
		members := g.status().members
		if first == nil || members > most || members == most && g.address < first.address {
			first, most = g, members
		}
	}
	return first
}
