// Package supervise runs the workers of a cluster: it passes events to a [lifecycle.Machine], and carries out the actions that it
// returns. All decisions are the machine's.
package supervise

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/peer"
)

// Config configures a Supervisor.
type Config struct {
	Rules    lifecycle.Config
	Role     boot.Role // the part that all workers share
	NextID   func() (int, error)
	Start    func(boot.Role) (*proc.Process, error)
	Adopt    func(peer.Info) (*proc.Process, error) // a process that is not our child
	Room     func(more int) error                   // returns an error if there cannot be so many more nodes
	Program  *Program                               // nil: this one
	Steering *steering.Steering
	Tell     func(control.Event)
	Logger   *slog.Logger
}

// Program is another program than this one.
type Program struct {
	StopSignal os.Signal
	// Verdict returns why a process that was never ready can never be, if that is certain. alone is an address that another one
	// has for itself, "" if there is none.
	Verdict func(e proc.Exit, alone string) error
}

// Supervisor supervises the workers. One goroutine, Run, owns the machine and the workers; all other goroutines send it events.
// All methods may be called at the same time, except those that come before Run.
type Supervisor struct {
	cfg      Config
	events   chan envelope
	allReady chan struct{}
	greeted  chan struct{}
	settled  chan struct{}
	done     chan struct{}
	err      error // readable after done
	loop     *loop // Run's
}

// loop is the state of Run, which alone uses it.
type loop struct {
	*Supervisor
	master  Master // nil: there is none yet
	machine *lifecycle.Machine
	pending []lifecycle.Event // for the machine
	telling bool
	workers map[int]*worker    // by id, those that run
	orders  map[int]*given     // by number, those that have not ended
	seq     int                // the last number
	ending  <-chan struct{}    // closed when the node begins to stop; nil: that is known
	lending context.CancelFunc // ends Lend
	over    bool
}

// Master is the master, as far as a Supervisor calls it.
type Master interface {
	// LeavePorts begins to leave all ports, and calls left when that is done.
	LeavePorts(left func())
	// Reloading is called when a reload begins, and when it has ended, with the number of nodes.
	Reloading(is bool, nodes int)
	// Scaled is called when the number of nodes has changed.
	Scaled(nodes int)

	// StartSuccessor starts a successor for so many nodes, and calls tell with SuccessorStarted, and with the events that follow.
	StartSuccessor(nodes int, tell func(lifecycle.Event))
	// Say says a word to the successor, which may have ended.
	Say(lifecycle.Word)
	// Signal signals it.
	Signal(syscall.Signal)
	// HangUp ends the connection to it.
	HangUp()
	// LastID returns the last id that was given out.
	LastID() int
	// Lend leaves ports and lock to the successor, and returns whether the lock is free.
	Lend(context.Context) lifecycle.Lent
	// Depose begins the end of this master, unless its stop has begun.
	Depose() bool
	// HandedOver makes the successor known as the master.
	HandedOver()
	// Regain takes back what was lent.
	Regain(lifecycle.Regain) lifecycle.Regained
	// Stop begins the stop of the cluster.
	Stop()
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
	hello struct { // a worker has reported its listeners
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
	belongs struct { // the supervisor has a master from now on, which begins to stop when ending is closed
		master Master
		ending <-chan struct{}
	}
	view struct{ state *State }
	port struct{ key portgroup.Key } // that all nodes share
)

// given is an order that has not ended.
type given struct {
	order  lifecycle.Order
	answer chan error // gets one value
}

// State is the workers' part of Status.
type State struct {
	Doing   string
	Slots   int // that are meant to be
	Nodes   int // that are meant to accept connections
	Workers []control.NodeStatus
}

// New makes a supervisor. It has no slots until the event Fill.
func New(c Config) *Supervisor {
	s := &Supervisor{
		cfg: c, events: make(chan envelope),
		allReady: make(chan struct{}), greeted: make(chan struct{}), settled: make(chan struct{}), done: make(chan struct{}),
	}
	s.loop = &loop{
		Supervisor: s, machine: lifecycle.New(c.Rules), workers: make(map[int]*worker), orders: make(map[int]*given),
	}
	return s
}

// Send makes Run handle an event, and returns when it has. It returns false when Run has ended.
func (s *Supervisor) Send(e lifecycle.Event) bool { return s.send(e) }

// Belong sets the master, and the channel that is closed when that begins to stop.
func (s *Supervisor) Belong(m Master, ending <-chan struct{}) { s.send(belongs{m, ending}) }

// SetPort sets the port that all nodes share.
func (s *Supervisor) SetPort(key portgroup.Key) { s.send(port{key}) }

// Inherit says that previous masters have used the ids up to last. Call it before Run.
func (s *Supervisor) Inherit(last int) { s.loop.machine.Inherit(last) }

// Hold keeps orders waiting until Release is sent. Call it before Run.
func (s *Supervisor) Hold(what string) { s.loop.tell(lifecycle.Hold{Name: what}) }

// AllReady is closed when each slot has been ready once.
func (s *Supervisor) AllReady() <-chan struct{} { return s.allReady }

// Greeted is closed when all adopted workers have reported their listeners.
func (s *Supervisor) Greeted() <-chan struct{} { return s.greeted }

// Settled is closed when the master has begun to stop, and no successor has our workers and ports, or will get them.
func (s *Supervisor) Settled() <-chan struct{} { return s.settled }

// Done is closed when Run has ended.
func (s *Supervisor) Done() <-chan struct{} { return s.done }

// Err waits for the end of Run, and returns the reason, nil if it was told to end.
func (s *Supervisor) Err() error {
	<-s.done
	return s.err
}

func (s *Supervisor) send(event any) bool {
	handled := make(chan struct{})
	select {
	case s.events <- envelope{event, handled}:
	case <-s.done:
		return false
	}
	<-handled
	return true
}

// State returns the workers' part of Status. It returns false when Run has ended.
func (s *Supervisor) State() (state State, ok bool) {
	ok = s.send(view{&state})
	return state, ok
}

// ServeLink is the master's end of a worker's control stream: it returns when the stream has ended, with an error if the worker has
// broken the protocol.
func (s *Supervisor) ServeLink(stream io.ReadWriteCloser, worker peer.Info) error {
	l, known := protocol.NewWorker(stream), false
	if !s.send(linked{info: worker, link: l, known: &known}) || !known {
		return stream.Close()
	}
	err := l.Serve(fromWorker{s.cfg.Steering.Steerer(worker.ID, true), s, worker.ID})
	s.send(unlinked{id: worker.ID, link: l})
	return err
}

// fromWorker passes on the messages of a worker.
type fromWorker struct {
	protocol.Steerer
	supervisor *Supervisor
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

// CarryOut sends an order to the machine, and returns when it has ended.
func (s *Supervisor) CarryOut(ctx context.Context, o lifecycle.Order) error {
	g := &given{order: o, answer: make(chan error, 1)}
	if !s.send(g) {
		return control.ErrStopping
	}
	select {
	case err := <-g.answer:
		return err
	case <-ctx.Done():
		s.send(lifecycle.Cancel{Seq: g.order.Seq, Err: ctx.Err()})
		return <-g.answer
	}
}

// Run owns the machine, and returns when that is over. It is called once.
func (s *Supervisor) Run() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.loop.over {
		select {
		case e := <-s.events:
			s.loop.handle(e.event)
			close(e.handled)
		case <-timer.C:
			s.loop.tell(lifecycle.Tick{})
		}
		if !closed.Is(s.greeted) && s.loop.machine.Greeted() {
			close(s.greeted)
		}
		timer.Stop()
		if next := s.loop.machine.Next(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
	for _, g := range s.loop.orders {
		g.answer <- control.ErrStopping
	}
}

func (s *loop) handle(event any) {
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
		} else { // no answer in time, or the link has ended
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
		s.master, s.ending = e.master, e.ending
	case view:
		*e.state = s.look()
	case port:
		s.cfg.Role.Port = e.key
	case lifecycle.Quit:
		s.tell(e)
		for _, w := range s.workers {
			if w.link != nil {
				go w.link.Close() // from now on it sends its requests to another master
			}
		}
	default:
		s.tell(e)
	}
}

// tell passes an event to the machine, and carries out the actions. Events that result from these follow afterwards.
func (s *loop) tell(e lifecycle.Event) {
	s.pending = append(s.pending, e)
	if s.telling {
		return
	}
	s.telling = true
	defer func() { s.telling = false }()
	for len(s.pending) > 0 {
		next := s.pending[0]
		s.pending = s.pending[1:]
		if s.ending != nil && closed.Is(s.ending) {
			s.ending = nil
			s.pending = slices.Insert(s.pending, 0, next)
			next = lifecycle.Ending{}
		}
		for _, a := range s.machine.Handle(next, time.Now()) {
			s.perform(a)
		}
	}
}

// look returns the workers' part of Status, with the queue of the main port.
func (s *loop) look() State {
	state := State{
		Doing: s.machine.Doing(), Slots: s.machine.Slots(), Nodes: s.machine.Nodes(), Workers: s.machine.Status(),
	}
	main, _, _ := s.cfg.Steering.Main(s.cfg.Role.Port)
	for i := range state.Workers {
		if w := s.workers[state.Workers[i].ID]; w != nil {
			w.addLoad(&state.Workers[i], main)
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
