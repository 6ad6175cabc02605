package cluster

import (
	"log/slog"
	"slices"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/peer"
)

// supervisor keeps the slots filled. One goroutine, run, owns the slots and the workers; everybody else sends it
// events.
type supervisor struct {
	opts   Options
	logger *slog.Logger
	start  func(role) (*process, error)
	role   role // what all workers have in common
	ports  *ports

	events   chan event
	allReady chan struct{} // closed when each slot has been ready once
	done     chan struct{} // closed when nothing runs any more
	err      error         // why, unless it was told to; readable after done

	// Owned by run.
	slots    []*slot
	workers  map[int]*worker // by id, those that run
	nextID   func() int
	stopping bool
	late     []*worker // made to leave, since they did not in time
}

// worker is a process in a slot.
type worker struct {
	slot    *slot
	info    peer.Info
	process *process
	started time.Time
	link    *link  // nil until it is linked, and when it is no longer
	known   bool   // it has been linked
	failure string // with which its node ended, by its own word
	hung    string // what it did not do in time
}

// event is one of the types below.
type event any

type (
	exited struct { // a worker is gone
		id   int
		exit exit
	}
	linked struct { // a worker, if it is one of ours, has opened its control stream
		info  peer.Info
		link  *link
		known chan<- bool
	}
	unlinked struct { // that stream has ended
		id   int
		link *link
	}
	received struct { // a worker has sent a message
		id      int
		message message
	}
	stopAll struct{ timeout time.Duration }
	cutAll  struct{}
)

// newSupervisor makes a supervisor whose workers have the ids that nextID gives.
func newSupervisor(
	opts Options, common role, nextID func() int, start func(role) (*process, error), ports *ports,
) *supervisor {
	s := &supervisor{
		opts: opts, logger: opts.Logger, start: start, role: common, ports: ports,
		events: make(chan event), allReady: make(chan struct{}), done: make(chan struct{}),
		workers: make(map[int]*worker), nextID: nextID,
	}
	for number := range opts.workers() {
		s.slots = append(s.slots, &slot{number: number + 1, deadline: time.Now()})
	}
	return s
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

// serveLink is the master's end of a control stream: it returns when the stream has ended, with an error if that was for
// what the worker has sent.
func (s *supervisor) serveLink(stream *peer.Stream) error {
	l, known := newLink(stream), make(chan bool, 1)
	info := stream.Peer()
	if !s.send(linked{info: info, link: l, known: known}) || !<-known {
		return stream.Close()
	}
	err := l.serve(func(m message) { s.receive(info.ID, l, m) })
	s.send(unlinked{id: info.ID, link: l})
	return err
}

// receive handles a message of a worker, in the goroutine of its link.
func (s *supervisor) receive(id int, l *link, m message) {
	switch m.Kind {
	case kindListen: // may take the time of a look-up of a name
		_ = l.send(s.ports.answer(m)) // an error ends the link
	case kindFailed:
		// The worker waits for the answer with its exit, which must not be known before.
		s.send(received{id: id, message: m})
		_ = l.send(message{Kind: kindAnswer, Seq: m.Seq}) // an error ends the link
	case kindReady:
		s.send(received{id: id, message: m})
	case kindAnswer, kindStop: // not for a master
	}
}

// run is the goroutine that owns the slots. It ends when all are vacant; Node's stop waits for it.
func (s *supervisor) run() {
	defer close(s.done)
	s.announceReady()
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
	s.err = join(s.err, s.lateError())
}

// perform does what is due in each slot.
func (s *supervisor) perform(now time.Time) {
	for _, slot := range s.slots {
		switch slot.due(now) {
		case start:
			s.startWorker(slot, now)
		case dump:
			s.dump(s.workerIn(slot))
		case kill:
			s.kill(s.workerIn(slot))
		case nothing:
		}
	}
}

func (s *supervisor) nextDeadline() (next time.Time) {
	for _, slot := range s.slots {
		if !slot.deadline.IsZero() && (next.IsZero() || slot.deadline.Before(next)) {
			next = slot.deadline
		}
	}
	return next
}

// over tells whether the master was told to stop and nothing runs any more.
func (s *supervisor) over() bool { return s.stopping && s.empty() }

func (s *supervisor) empty() bool {
	return !slices.ContainsFunc(s.slots, func(slot *slot) bool { return slot.phase != vacant })
}

func (s *supervisor) handle(ev event) {
	switch ev := ev.(type) {
	case exited:
		s.handleExit(s.workers[ev.id], ev.exit)
	case linked:
		ev.known <- s.handleLink(ev.info, ev.link)
	case unlinked:
		if w := s.workers[ev.id]; w != nil && w.link == ev.link {
			w.link = nil
		}
	case received:
		if w := s.workers[ev.id]; w != nil {
			s.handleMessage(w, ev.message)
		}
	case stopAll:
		s.stopAll(ev.timeout)
	case cutAll:
		s.stopping = true
		for _, slot := range s.slots {
			if slot.cut() {
				s.kill(s.workerIn(slot))
			}
		}
	}
}

func (s *supervisor) startWorker(slot *slot, now time.Time) {
	slot.started(now, s.opts.BootTimeout)
	role := s.role
	role.ID, role.Slot, role.Generation, role.Incarnation = s.nextID(), slot.number, slot.generation, peer.NewIncarnation()
	w := &worker{slot: slot, info: role.info(), started: now}
	s.workers[role.ID] = w
	process, err := s.start(role)
	if err != nil {
		s.handleExit(w, exit{err: err})
		return
	}
	w.process, w.info.PID = process, process.pid
	s.logger.Info("worker started", w.attrs()...)
	go s.awaitExit(role.ID, process)
}

// awaitExit is a goroutine that ends with the process; run does not end before it has been told.
func (s *supervisor) awaitExit(id int, p *process) { s.send(exited{id: id, exit: <-p.exited}) }

func (s *supervisor) handleLink(info peer.Info, l *link) bool {
	w := s.workers[info.ID]
	if w == nil || w.info.Incarnation != info.Incarnation {
		return false // a worker of a master that is gone
	}
	w.link, w.known = l, true
	if w.slot.phase == stopping {
		s.order(w, max(0, time.Until(w.slot.deadline)-stopMargin))
	}
	return true
}

func (s *supervisor) handleMessage(w *worker, m message) {
	switch m.Kind {
	case kindReady:
		if now := time.Now(); w.slot.becameReady(now) {
			s.logger.Info("worker ready", append(w.attrs(), "after", round(now.Sub(w.started)))...)
			s.announceReady()
		}
	case kindFailed:
		w.failure = m.Error
	case kindListen, kindAnswer, kindStop: // not sent here
	}
}

// announceReady closes allReady once each slot has been ready.
func (s *supervisor) announceReady() {
	if slices.ContainsFunc(s.slots, func(slot *slot) bool { return !slot.everReady }) {
		return
	}
	select {
	case <-s.allReady:
	default:
		close(s.allReady)
	}
}

func (s *supervisor) stopAll(timeout time.Duration) {
	if s.stopping {
		return
	}
	s.stopping = true
	now := time.Now()
	for _, slot := range s.slots {
		if slot.stop(now, timeout) {
			s.order(s.workerIn(slot), timeout)
		}
	}
}

// order asks a worker to leave: over its link, or by signal while it has not come to Listen. One that has lost its link
// is about to end, or will be linked again.
func (s *supervisor) order(w *worker, timeout time.Duration) {
	switch {
	case w.link != nil:
		_ = w.link.send(message{Kind: kindStop, Timeout: timeout}) // an error ends the link
	case !w.known:
		_ = w.process.signal(syscall.SIGTERM) // it may be gone already, then its exit is on the way
	}
}

// workerIn returns the worker that runs in slot.
func (s *supervisor) workerIn(slot *slot) *worker {
	for _, w := range s.workers {
		if w.slot == slot {
			return w
		}
	}
	return nil
}

func (w *worker) attrs() []any {
	return []any{"id", w.info.ID, "slot", w.info.Slot, "generation", w.info.Generation, "pid", w.info.PID}
}

func round(d time.Duration) time.Duration { return max(0, d).Round(time.Millisecond) }
