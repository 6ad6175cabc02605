package cluster

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// part is what a worker is in its slot.
type part int

const (
	occupant  part = iota
	candidate      // is to replace the occupant, when it is ready
	retired        // was replaced, or is to leave with its slot
)

// worker is a process in a slot.
type worker struct {
	life
	slot    *slot
	part    part
	info    peer.Info
	process *proc.Process
	started time.Time
	link    *protocol.Worker // nil until it is linked, and when it is no longer
	known   bool             // it has been linked
	adopted bool             // from another master
	greeted chan struct{}    // closed when we have what it told us; nil: it has not
	failure string           // with which its node ended, by its own word
	hung    string           // what it did not do in time

	pulse   pulse
	asking  bool             // a probe is on its way
	threads proc.ThreadTimes // when they were last read
	suspect bool
	load    portgroup.Load // of its last answer

	foreign []*foreignListener // of a program that does not talk to us; nil: it does, or does not listen yet

	finish func() error // asks it to end, once

	settled chan error    // gets one value: whether the worker became ready
	drained chan struct{} // closed when it has no listener any more
}

func (s *supervisor) newWorker(slot *slot, now time.Time) *worker {
	return &worker{
		life: newLife(now, s.opts.BootTimeout), slot: slot, started: now,
		pulse:   pulse{timeout: s.opts.LivenessTimeout},
		settled: make(chan error, 1), drained: make(chan struct{}),
	}
}

// startWorker starts a worker in a slot.
func (s *supervisor) startWorker(slot *slot, as part, now time.Time) *worker {
	slot.started()
	w := s.newWorker(slot, now)
	w.part = as
	role := s.role
	role.Slot, role.Generation, role.Incarnation = slot.number, slot.generation, rendezvous.NewIncarnation()
	id, err := s.nextID()
	role.ID = id
	if err == nil {
		w.process, err = s.sys.start(role)
	} else {
		role.ID = -slot.number // nobody's
	}
	w.info = role.Info()
	s.workers[w.info.ID] = w
	if err != nil {
		s.handleExit(w, proc.Exit{Err: err})
		return w
	}
	w.info.PID = w.process.PID
	if s.program != nil {
		s.steering.expect(w.info.ID, w.info.PID) // it may listen before we look
		w.finish = sync.OnceValue(func() error { return w.process.Signal(s.program.StopSignal) })
	}
	s.logger.Info("worker started", w.attrs()...)
	s.tell(control.EventStarted, w, "")
	ended := make(chan struct{})
	go s.awaitExit(w.info.ID, w.process, ended)
	if s.program != nil {
		s.steering.running.Go(func() { s.watchForeign(w, ended) })
	}
	return w
}

// awaitExit is a goroutine that ends with the process; run does not end before it has been told.
func (s *supervisor) awaitExit(id int, p *proc.Process, ended chan<- struct{}) {
	e := <-p.Exited
	close(ended)
	s.send(exited{id: id, exit: e})
}

// greet returns what is to be closed when the first hello of an adopted worker has been taken note of.
func (w *worker) greet() chan<- struct{} {
	if w.greeted != nil {
		return nil
	}
	w.greeted = make(chan struct{})
	return w.greeted
}

func (s *supervisor) becameReady(w *worker) {
	now := time.Now()
	if w.phase <= ready {
		s.steering.ready(w.info.ID)
	}
	if !w.becameReady(now) {
		return
	}
	w.slot.everReady = true
	s.logger.Info("worker ready", append(w.attrs(), "after", round(now.Sub(w.started)))...)
	s.journal.Emit(w.event(control.EventReady, "", now.Sub(w.started)))
	if w.part == candidate {
		s.install(w)
	}
	w.settled <- nil
	s.announceReady()
}

// install makes a candidate the occupant of its slot, and lets the one before leave.
func (s *supervisor) install(w *worker) {
	if before := s.occupantOf(w.slot); before != nil {
		s.retire(before)
	}
	w.part = occupant
}

// retire lets a worker leave that is no longer needed.
func (s *supervisor) retire(w *worker) {
	w.part = retired
	if w.leave(time.Now(), s.opts.StopTimeout) {
		s.tell(control.EventDraining, w, "")
		s.order(w, s.opts.StopTimeout)
	}
}

func (s *supervisor) handleDrained(w *worker, took time.Duration) {
	if isClosed(w.drained) {
		return
	}
	s.logger.Info("worker drained", append(w.attrs(), "took", took.Round(time.Microsecond))...)
	s.journal.Emit(w.event(control.EventDrained, "", took))
	w.endDrain() // last: who waits for it goes on with what comes after
}

// endDrain lets go who waits for the drain of a worker.
func (w *worker) endDrain() {
	if !isClosed(w.drained) {
		close(w.drained)
	}
}

// order asks a worker to leave: over its link, or by signal while it has not come to Listen. One that has lost its link
// is about to end, or will be linked again.
func (s *supervisor) order(w *worker, timeout time.Duration) {
	switch {
	case s.loan != nil: // takeUp does it
	case w.foreign != nil:
		s.steering.running.Go(func() { s.leaveForeign(w.info.ID, w.foreign, w.finish) })
	case w.link != nil:
		_ = w.link.Stop(protocol.Stop{Timeout: timeout, All: s.stopping}) // an error ends the link
	case !w.known && s.program != nil:
		_ = w.finish() // as below
	case !w.known:
		_ = w.process.Signal(syscall.SIGTERM) // it may be gone already, then its exit is on the way
	}
}

// occupantOf returns the worker that is meant to serve in a slot, nil if there is none.
func (s *supervisor) occupantOf(slot *slot) *worker { return s.workerIn(slot, occupant) }

func (s *supervisor) workerIn(slot *slot, as part) *worker {
	for _, w := range s.workers {
		if w.slot == slot && w.part == as {
			return w
		}
	}
	return nil
}

func (w *worker) event(kind control.EventKind, text string, took time.Duration) control.Event {
	return control.Event{
		Kind: kind, ID: w.info.ID, Slot: w.info.Slot, Generation: w.info.Generation, PID: w.info.PID,
		Text: text, Took: took,
	}
}

func (w *worker) attrs() []any {
	return []any{"id", w.info.ID, "slot", w.info.Slot, "generation", w.info.Generation, "pid", w.info.PID}
}

func (w *worker) String() string {
	return fmt.Sprintf("worker %d (slot %d, pid %d)", w.info.ID, w.info.Slot, w.info.PID)
}
