package cluster

import (
	"log/slog"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/journal"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/peer"
)

// supervisor keeps the slots filled. One goroutine, run, owns the slots and the workers; everybody else sends it
// events.
type supervisor struct {
	opts     Options
	logger   *slog.Logger
	sys      system
	role     boot.Role // what all workers have in common
	program  *program  // nil: this one
	steering *steering
	journal  *journal.Journal[control.Event]

	events   chan event
	allReady chan struct{} // closed when each slot has been ready once
	done     chan struct{} // closed when nothing runs any more
	err      error         // why, unless it was told to; readable after done

	// Owned by run.
	slots       []*slot
	generations map[int]int     // of slots that were given up, by number
	workers     map[int]*worker // by id, those that run
	nextID      func() (int, error)
	stopping    bool
	quitting    bool
	filled      bool            // the slots are those that are wanted
	ending      <-chan struct{} // closed when the node begins to stop; no slot is filled any more
	doing       string          // what Status says
	late        []*worker       // made to leave, since they did not in time
	probed      time.Time       // when the workers were last probed
	loan        *loan           // a successor has the workers; nil: they are ours
	others      []idRange       // ids that other masters have given to workers that may be ours some time
}

// event is one of the types below.
type event any

type (
	exited struct { // a worker is gone
		id   int
		exit proc.Exit
	}
	linked struct { // a worker, if it is one of ours, has opened its control stream
		info  peer.Info
		link  protocol.Worker
		known chan<- bool
	}
	unlinked struct { // that stream has ended
		id   int
		link protocol.Worker
	}
	greeted struct { // a worker has told what it has
		id int
		protocol.Hello
	}
	becameReady struct{ id int }
	failed      struct { // a worker has told with which error its node ends
		id     int
		reason string
	}
	drained struct { // a worker has no listener any more
		id int
		protocol.Drained
	}
	answered struct { // a probe
		id   int
		load portgroup.Load
		err  error
	}
	stopAll struct{ timeout time.Duration }
	cutAll  struct{}
	quit    struct{} // run ends, and the workers live on
	call    func()   // whatever needs what run owns
)

// newSupervisor makes a supervisor whose workers have the ids that nextID gives. It has no slots until fill.
func newSupervisor(
	opts Options, common boot.Role, nextID func() (int, error), sys system, steering *steering, journal *journal.Journal[control.Event],
) *supervisor {
	return &supervisor{
		opts: opts, logger: opts.Logger, sys: sys, role: common, steering: steering, journal: journal,
		events: make(chan event), allReady: make(chan struct{}), done: make(chan struct{}),
		generations: make(map[int]int), workers: make(map[int]*worker), nextID: nextID,
	}
}

// addSlot adds the next slot, into which nobody is started yet.
func (s *supervisor) addSlot() *slot {
	last := 0
	for _, slot := range s.slots {
		last = max(last, slot.number)
	}
	return s.slotBy(last + 1)
}

// dropSlot gives a slot up in which nobody is meant to live.
func (s *supervisor) dropSlot(dropped *slot) {
	dropped.close()
	s.generations[dropped.number] = dropped.generation
	s.slots = slices.DeleteFunc(s.slots, func(o *slot) bool { return o == dropped })
}

// send hands ev to run. It returns false when run has ended.
func (s *supervisor) send(ev event) bool {
	select {
	case s.events <- ev:
		return true
	case <-s.done:
		return false
	}
}

// do runs f in run, and returns when it has. It returns false when run has ended.
func (s *supervisor) do(f func()) bool {
	finished := make(chan struct{})
	if !s.send(call(func() { f(); close(finished) })) {
		return false
	}
	<-finished
	return true
}

// serveLink is the master's end of a control stream: it returns when the stream has ended, with an error if that was for
// what the worker has sent.
func (s *supervisor) serveLink(stream *peer.Stream) error {
	l, known := protocol.NewWorker(stream), make(chan bool, 1)
	info := stream.Peer()
	if !s.send(linked{info: info, link: l, known: known}) || !<-known {
		return stream.Close()
	}
	err := l.Serve(fromWorker{steererOf{s.steering, info.ID, true}, s})
	s.send(unlinked{id: info.ID, link: l})
	return err
}

// fromWorker hands on what a worker says.
type fromWorker struct {
	steererOf
	supervisor *supervisor
}

var _ protocol.FromWorker = fromWorker{}

func (w fromWorker) Hello(hello protocol.Hello) { w.supervisor.send(greeted{w.id, hello}) }

func (w fromWorker) Ready() { w.supervisor.send(becameReady{w.id}) }

func (w fromWorker) Drained(d protocol.Drained) { w.supervisor.send(drained{w.id, d}) }

// Failed returns when run knows, as the worker waits with its exit until then.
func (w fromWorker) Failed(reason string) { w.supervisor.send(failed{w.id, reason}) }

// run is the goroutine that owns the slots. It ends when it was told to stop and nobody lives; Node's stop waits for it.
func (s *supervisor) run() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.over() {
		select {
		case ev := <-s.events:
			s.handle(ev)
		case <-timer.C:
		}
		s.perform(time.Now())
		timer.Stop()
		if next := s.nextDeadline(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
	s.err = errline.Join(s.err, s.lateError())
}

// perform does what is due.
func (s *supervisor) perform(now time.Time) {
	if now.Sub(s.probed) >= s.probeInterval() {
		s.probeAll(now)
	}
	if s.loan != nil {
		return
	}
	for _, slot := range s.slots {
		if slot.isDue(now) && !isClosed(s.ending) {
			s.startWorker(slot, occupant, now)
		}
	}
	for _, w := range s.workers {
		s.act(w, w.due(now))
	}
}

// act carries out what a worker's life asks for.
func (s *supervisor) act(w *worker, a action) {
	switch a {
	case dump:
		s.dump(w)
	case kill:
		s.kill(w)
	case nothing:
	}
}

func (s *supervisor) nextDeadline() (next time.Time) {
	consider := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if len(s.workers) > 0 {
		consider(s.probed.Add(s.probeInterval()))
	}
	if s.loan != nil {
		return next
	}
	if !isClosed(s.ending) {
		for _, slot := range s.slots {
			consider(slot.next)
		}
	}
	for _, w := range s.workers {
		consider(w.deadline)
	}
	return next
}

// over tells whether the master was told to stop and nothing runs any more, or to leave all as it is.
func (s *supervisor) over() bool { return s.quitting || s.stopping && len(s.workers) == 0 }

func (s *supervisor) handle(ev event) {
	switch ev := ev.(type) {
	case exited:
		s.handleExit(s.workers[ev.id], ev.exit)
	case linked:
		ev.known <- s.handleLink(ev.info, ev.link)
	case unlinked:
		if w := s.workers[ev.id]; w != nil && w.link != nil && *w.link == ev.link {
			w.link = nil
		}
	case greeted:
		if w := s.workers[ev.id]; w != nil {
			s.steering.inheritAll(ev.id, ev.Listeners, w.greet())
			if ev.Ready {
				s.becameReady(w)
			}
		}
	case becameReady:
		if w := s.workers[ev.id]; w != nil {
			s.becameReady(w)
		}
	case failed:
		if w := s.workers[ev.id]; w != nil {
			w.failure = ev.reason
		}
	case drained:
		if w := s.workers[ev.id]; w != nil {
			s.handleDrained(w, ev.Took)
		}
	case answered:
		if w := s.workers[ev.id]; w != nil {
			s.handleAnswer(w, ev)
		}
	case call:
		ev()
	case quit:
		s.quitting = true
		for _, w := range s.workers {
			if w.link != nil {
				go w.link.Close() // what it asks, it asks another master from now on
			}
		}
	case stopAll:
		s.stopAll(ev.timeout)
	case cutAll:
		s.stopAll(0)
		for _, w := range s.workers {
			w.cut(time.Now())
			s.kill(w)
		}
	}
}

func (s *supervisor) handleLink(info peer.Info, l protocol.Worker) bool {
	w := s.workers[info.ID]
	if w == nil {
		w = s.meet(info)
	}
	if w == nil || w.info.Incarnation != info.Incarnation {
		return false // a worker that was given up
	}
	w.link, w.known = &l, true
	s.steering.enter(info.ID, w.info.PID, l)
	if w.phase == stopping {
		s.order(w, max(0, time.Until(w.deadline)-stopMargin))
	}
	return true
}

// announceReady closes allReady once each slot has been ready.
func (s *supervisor) announceReady() {
	isNew := func(slot *slot) bool { return !slot.everReady }
	if !s.filled || slices.ContainsFunc(s.slots, isNew) || isClosed(s.allReady) {
		return
	}
	close(s.allReady)
}

func (s *supervisor) stopAll(timeout time.Duration) {
	if s.stopping {
		return
	}
	s.stopping = true
	for _, slot := range s.slots {
		slot.close()
	}
	now := time.Now()
	for _, w := range s.workers {
		if w.leave(now, timeout) {
			s.order(w, timeout)
		}
	}
}

func (s *supervisor) tell(kind control.EventKind, w *worker, text string) {
	s.journal.Emit(w.event(kind, text, 0))
}

func round(d time.Duration) time.Duration { return max(0, d).Round(time.Millisecond) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
