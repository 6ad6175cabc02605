package cluster

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/journal"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/peer"
)

// supervisor supervises the workers: it tells a [lifecycle.Machine] what happens, and carries out what that wants. One
// goroutine, run, owns the machine and the workers; everybody else sends it events.
type supervisor struct {
	opts     Options
	logger   *slog.Logger
	sys      system
	program  *program // nil: this one
	steering *steering.Steering
	journal  *journal.Journal[control.Event]
	nextID   func() (int, error)

	events   chan envelope
	allReady chan struct{} // closed when each slot has been ready once
	greeted  chan struct{} // closed when all workers that were adopted have told what they have
	done     chan struct{} // closed when nothing runs any more
	err      error         // why, unless it was told to; readable after done

	// Owned by run.
	node    supervisedNode // nil: there is none yet
	machine *lifecycle.Machine
	pending []lifecycle.Event // that it is to be told
	telling bool
	role    boot.Role       // what all workers have in common
	workers map[int]*worker // by id, those that run
	orders  map[int]*given  // by number, those that have not ended
	seq     int             // the last number
	ending  <-chan struct{} // closed when the node begins to stop; nil: that is known
	over    bool
}

// supervisedNode is what a supervisor lets its own node do.
type supervisedNode interface {
	// leaveToWorkers begins to leave all ports, and calls left when that is done.
	leaveToWorkers(left func())
	// reloading hears when a reload begins, and when it has ended, of how many nodes.
	reloading(is bool, nodes int)
	// scaled hears when the number of nodes has changed.
	scaled(nodes int)
}

// worker is the process of a worker.
type worker struct {
	info    peer.Info
	process *proc.Process
	link    *protocol.Worker // nil until it is linked, and when it is no longer
	known   atomic.Bool      // it has been linked
	inherit bool             // its first hello has been taken note of, or it was not adopted
	threads proc.ThreadTimes // when they were last read
	load    portgroup.Load   // of its last answer
	foreign []*steering.Foreign
	finish  func() error // asks a program to end, once
}

// envelope is an event on its way to run: one of lifecycle's, or one of the types below.
type envelope struct {
	event   any
	handled chan<- struct{} // is closed when it was
}

type (
	exited struct { // a process is gone
		id   int
		exit proc.Exit
	}
	linked struct { // a worker, if it is one of ours, has opened its control stream
		info  peer.Info
		link  protocol.Worker
		known *bool
	}
	unlinked struct { // that stream has ended
		id   int
		link protocol.Worker
	}
	hello struct { // a worker has told what it has
		id int
		protocol.Hello
	}
	answered struct { // a probe
		id   int
		load portgroup.Load
		err  error
	}
	listening struct { // a program that does not talk to us
		id      int
		foreign []*steering.Foreign
	}
	belongs struct { // the supervisor has a node from now on, which begins to stop when ending is closed
		node   supervisedNode
		ending <-chan struct{}
	}
	view struct{ state *supervisorState }
	port struct{ key portgroup.Key } // that all nodes share
)

// given is an order that has not ended.
type given struct {
	order  lifecycle.Order
	begun  chan struct{} // gets a value when it is to be carried out by who has given it
	answer chan error    // gets one value
}

// supervisorState is what Status tells of the workers.
type supervisorState struct {
	doing        string
	slots, nodes int // that are meant to be
	workers      []control.NodeStatus
}

// newSupervisor makes a supervisor whose workers have the ids that nextID gives. It has no slots until fill.
func newSupervisor(
	opts Options, masterID int, common boot.Role, nextID func() (int, error), sys system, steering *steering.Steering,
	journal *journal.Journal[control.Event],
) *supervisor {
	return &supervisor{
		opts: opts, logger: opts.Logger, sys: sys, role: common, steering: steering, journal: journal, nextID: nextID,
		machine: lifecycle.New(lifecycle.Config{
			Workers: opts.workers(), BootTimeout: opts.BootTimeout, StopTimeout: opts.StopTimeout, LivenessTimeout: opts.LivenessTimeout,
			DisableRestart: opts.DisableRestart, MasterID: masterID, MasterAccepts: !opts.DisableMasterListen,
		}),
		events: make(chan envelope), allReady: make(chan struct{}), greeted: make(chan struct{}), done: make(chan struct{}),
		workers: make(map[int]*worker), orders: make(map[int]*given),
	}
}

// send lets run handle an event, and returns when it has. It returns false when run has ended.
func (s *supervisor) send(event any) bool {
	handled := make(chan struct{})
	select {
	case s.events <- envelope{event, handled}:
	case <-s.done:
		return false
	}
	<-handled
	return true
}

// state returns what Status tells. It returns false when run has ended.
func (s *supervisor) state() (state supervisorState, ok bool) {
	ok = s.send(view{&state})
	return state, ok
}

// serveLink is the master's end of a control stream: it returns when the stream has ended, with an error if that was for
// what the worker has sent.
func (s *supervisor) serveLink(stream *peer.Stream) error {
	l, known, info := protocol.NewWorker(stream), false, stream.Peer()
	if !s.send(linked{info: info, link: l, known: &known}) || !known {
		return stream.Close()
	}
	err := l.Serve(fromWorker{s.steering.Steerer(info.ID, true), s, info.ID})
	s.send(unlinked{id: info.ID, link: l})
	return err
}

// fromWorker hands on what a worker says.
type fromWorker struct {
	protocol.Steerer
	supervisor *supervisor
	id         int
}

var _ protocol.FromWorker = fromWorker{}

func (w fromWorker) Hello(h protocol.Hello) { w.supervisor.send(hello{w.id, h}) }

func (w fromWorker) Ready() { w.supervisor.send(lifecycle.Ready{ID: lifecycle.ID(w.id)}) }

func (w fromWorker) Drained(d protocol.Drained) {
	w.supervisor.send(lifecycle.Drained{ID: lifecycle.ID(w.id), Took: d.Took})
}

// Failed returns when run knows, as the worker waits with its exit until then.
func (w fromWorker) Failed(reason string) {
	w.supervisor.send(lifecycle.Failed{ID: lifecycle.ID(w.id), Reason: reason})
}

// carryOut gives an order, and returns when it has ended. One of the kind Other is carried out by do.
func (s *supervisor) carryOut(ctx context.Context, o lifecycle.Order, do func(context.Context) error) error {
	g := &given{order: o, begun: make(chan struct{}, 1), answer: make(chan error, 1)}
	if !s.send(g) {
		return ErrStopping
	}
	cancelled := ctx.Done()
	for {
		select {
		case err := <-g.answer:
			return err
		case <-g.begun:
			err := do(ctx)
			s.send(lifecycle.Done{Seq: g.order.Seq, Err: err})
			return err
		case <-cancelled:
			cancelled = nil
			s.send(lifecycle.Cancel{Seq: g.order.Seq, Err: ctx.Err()})
		}
	}
}

// run is the goroutine that owns the machine. It ends when that is over; Node's stop waits for it.
func (s *supervisor) run() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.over {
		select {
		case e := <-s.events:
			s.handle(e.event)
			close(e.handled)
		case <-timer.C:
			s.tell(lifecycle.Tick{})
		}
		if !isClosed(s.greeted) && s.machine.Greeted() {
			close(s.greeted)
		}
		timer.Stop()
		if next := s.machine.Next(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
	for _, g := range s.orders {
		g.answer <- ErrStopping // who carries one out by itself knows better
	}
}

func (s *supervisor) handle(event any) {
	switch e := event.(type) {
	case exited:
		s.tell(lifecycle.Exited{ID: lifecycle.ID(e.id), Exit: s.exit(e.exit, s.machine.IsBooting(e.id) && !s.workers[e.id].known.Load())})
	case linked:
		*e.known = s.handleLink(e.info, e.link)
	case unlinked:
		if w := s.workers[e.id]; w != nil && w.link != nil && *w.link == e.link {
			w.link = nil
			s.tell(lifecycle.Unlinked{ID: lifecycle.ID(e.id)})
		}
	case hello:
		s.handleHello(e)
	case answered:
		if w := s.workers[e.id]; w != nil && e.err == nil {
			w.load = e.load
			s.tell(lifecycle.Answered{ID: lifecycle.ID(e.id)})
		} else { // in time, or by the end of the link: it goes on to be missed
			s.tell(lifecycle.Missed{ID: lifecycle.ID(e.id), Over: true})
		}
	case listening:
		if w := s.workers[e.id]; w != nil {
			w.foreign = e.foreign
			s.tell(lifecycle.Ready{ID: lifecycle.ID(e.id), Mute: true})
		}
	case *given:
		s.seq++
		e.order.Seq = s.seq
		s.orders[s.seq] = e
		s.tell(e.order)
	case belongs:
		s.node, s.ending = e.node, e.ending
	case view:
		*e.state = s.look()
	case port:
		s.role.Port = e.key
	case lifecycle.Quit:
		s.tell(e)
		for _, w := range s.workers {
			if w.link != nil {
				go w.link.Close() // what it asks, it asks another master from now on
			}
		}
	default:
		s.tell(e)
	}
}

// tell tells the machine what has happened, and carries out what it wants. What comes of that it is told afterwards.
func (s *supervisor) tell(e lifecycle.Event) {
	s.pending = append(s.pending, e)
	if s.telling {
		return
	}
	s.telling = true
	defer func() { s.telling = false }()
	for len(s.pending) > 0 {
		next := s.pending[0]
		s.pending = s.pending[1:]
		if s.ending != nil && isClosed(s.ending) {
			s.ending = nil
			s.pending = slices.Insert(s.pending, 0, next)
			next = lifecycle.Ending{}
		}
		for _, a := range s.machine.Handle(next, time.Now()) {
			s.perform(a)
		}
	}
}

// hold lets no order be carried out until the function that it returns is called. It comes before run, and Status says what.
func (s *supervisor) hold(what string) (release func()) {
	s.seq++
	seq := s.seq
	s.tell(lifecycle.Order{Seq: seq, Kind: lifecycle.Other, Name: what})
	return func() { s.send(lifecycle.Done{Seq: seq}) }
}

// look returns what Status tells, with the queue of the main port.
func (s *supervisor) look() supervisorState {
	state := supervisorState{
		doing: s.machine.Doing(), slots: s.machine.Slots(), nodes: s.machine.Nodes(), workers: s.machine.Status(),
	}
	main, _, _ := s.steering.Main(s.role.Port)
	for i := range state.workers {
		if w := s.workers[state.workers[i].ID]; w != nil {
			w.addLoad(&state.workers[i], main)
		}
	}
	return state
}

func (w *worker) addLoad(out *control.NodeStatus, main portgroup.Key) {
	out.Connections, out.Requests = w.load.Connections, w.load.Requests
	for _, q := range w.load.Queues {
		if q.Port == main {
			out.Queue, out.QueueLimit = q.Length, q.Limit
		}
	}
	for _, one := range w.foreign {
		if length, limit, ok := one.Queue(main); ok {
			out.Queue, out.QueueLimit = length, limit
		}
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
