package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/internal/errline"
)

func (s *supervisor) handleExit(w *worker, e proc.Exit) {
	now := time.Now()
	delete(s.workers, w.info.ID)
	s.steering.gone(w.info.ID)
	defer w.endDrain()
	died := w.death(e)
	w.slot.lastExit = died.Reason
	attrs := append(w.attrs(), "reason", died.Reason)
	if !w.adopted { // its start was not seen here
		attrs = append(attrs, "lived", round(now.Sub(w.started)))
	}
	attrs = append(attrs, leftBehind(e)...)
	switch {
	case w.asked:
		s.logger.Info("worker left", attrs...)
		s.tell(control.EventLeft, w, died.Reason)
		if !died.Ready {
			w.settled <- fmt.Errorf("it was told to leave before it was ready: %w", died)
		}
	case w.part == retired: // given up: its slot is filled already
		s.logger.Warn("worker died", append(attrs, "was_ready", died.Ready)...)
		s.tell(control.EventDied, w, died.Reason)
		if s.opts.DisableRestart {
			s.giveUpIfEmpty(died)
		}
	case w.part == candidate:
		s.handleFailedCandidate(w, e, died, attrs)
	default:
		s.handleDeath(w, e, died, attrs)
	}
}

// leftBehind returns what the log says of the processes that a worker has left behind.
func leftBehind(e proc.Exit) (attrs []any) {
	if e.Left != "" {
		attrs = append(attrs, "ended_with_it", e.Left)
	}
	if e.Alive != "" {
		attrs = append(attrs, "still_alive", e.Alive)
	}
	return attrs
}

// handleFailedCandidate keeps the worker that was to be replaced.
func (s *supervisor) handleFailedCandidate(w *worker, e proc.Exit, died *WorkerError, attrs []any) {
	s.logger.Warn("worker died; it was to replace another",
		append(attrs, "was_ready", died.Ready, "last_words", died.LastWords)...)
	s.tell(control.EventDied, w, died.Reason)
	if err := s.verdict(w, e, died); err != nil {
		w.settled <- fmt.Errorf("%w (%v: %s)", err, w, died.Reason)
	} else {
		w.settled <- died
	}
	if s.occupantOf(w.slot) == nil { // it has died as well
		s.vacate(w, false)
	}
}

// handleDeath fills the slot again, as its rules say.
func (s *supervisor) handleDeath(w *worker, e proc.Exit, died *WorkerError, attrs []any) {
	byItself := e.IsDone() && died.Ready
	wasLooping := w.slot.looping
	s.vacate(w, byItself)
	if byItself && !s.opts.DisableRestart {
		s.logger.Info("worker left by itself", append(attrs, "restart_in", s.restartIn(w.slot))...)
		s.tell(control.EventLeft, w, "by itself")
		return
	}
	s.tell(control.EventDied, w, died.Reason)
	if err := s.verdict(w, e, died); err != nil {
		if !w.slot.everReady { // nothing is lost that has been there
			s.logger.Error("worker died, and others would die like it: the cluster stops", attrs...)
			s.fail(err)
			return
		}
		attrs = append(attrs, "cause", err)
	}
	if died.LastWords != "" {
		attrs = append(attrs, "last_words", died.LastWords)
	}
	s.decide(w.slot, died, append(attrs, "was_ready", died.Ready), wasLooping)
}

// verdict returns why a worker that was never ready could not be, if that is certain of its program.
func (s *supervisor) verdict(w *worker, e proc.Exit, died *WorkerError) error {
	if s.program == nil || died.Ready || w.known {
		return nil
	}
	return s.program.verdict(e, died, s.notShared())
}

// notShared returns an address that a worker has for itself, "" if there is none.
func (s *supervisor) notShared() string {
	for _, w := range s.workers {
		for _, one := range w.foreign {
			if one.alone {
				return one.group.address
			}
		}
	}
	return ""
}

// vacate tells the slot that its worker is gone, or as good as gone. A candidate that is there takes it over.
func (s *supervisor) vacate(w *worker, byItself bool) {
	w.slot.died(time.Now(), w.readyAt, byItself, 2*rand.Float64()-1)
	switch {
	case s.opts.DisableRestart:
		w.slot.close()
	case s.workerIn(w.slot, candidate) != nil:
		w.slot.next = time.Time{}
	}
}

func (w *worker) death(e proc.Exit) *WorkerError {
	died := &WorkerError{
		ID: w.info.ID, Slot: w.slot.number, Generation: w.info.Generation, PID: w.info.PID,
		Ready: w.wasReady(), Reason: e.String(), LastWords: w.failure,
	}
	if !died.Ready && died.LastWords == "" {
		died.LastWords = e.LastWords
	}
	if w.hung != "" {
		died.Reason = w.hung + ", ended by us: " + died.Reason
	}
	return died
}

// decide says in the log what follows from the death of a worker that nobody wanted to leave.
func (s *supervisor) decide(slot *slot, died *WorkerError, attrs []any, wasLooping bool) {
	switch {
	case s.opts.DisableRestart:
		s.logger.Warn("worker died; its slot stays empty, restarting is disabled", attrs...)
		s.giveUpIfEmpty(died)
	case slot.looping && !s.anyEverReady():
		s.logger.Error("worker died", attrs...)
		s.fail(fmt.Errorf("no worker has ever become ready, and slot %d has failed %d times: %w", slot.number, crashLimit, died))
	case slot.looping && !wasLooping:
		s.logger.Error("worker died; its slot is crash-looping", append(attrs, "restart_in", s.restartIn(slot))...)
	default:
		s.logger.Warn("worker died", append(attrs, "restart_in", s.restartIn(slot))...)
	}
}

func (s *supervisor) restartIn(slot *slot) time.Duration { return round(time.Until(slot.next)) }

// giveUpIfEmpty ends a cluster that cannot serve any more: no slot is filled, and the master does not listen.
func (s *supervisor) giveUpIfEmpty(died *WorkerError) {
	if len(s.workers) == 0 && (s.opts.DisableMasterListen || !s.anyEverReady()) {
		s.fail(fmt.Errorf("no worker is left, and restarting is disabled: %w", died))
	}
}

func (s *supervisor) anyEverReady() bool {
	return slices.ContainsFunc(s.slots, func(slot *slot) bool { return slot.everReady })
}

// fail ends the cluster with err.
func (s *supervisor) fail(err error) {
	if s.loan != nil {
		s.loan.err = err
		return
	}
	s.err = err
	s.stopAll(s.opts.StopTimeout)
}

// dump makes a worker tell what all its goroutines are doing, and end. One that was stopped is let go on for it.
func (s *supervisor) dump(w *worker) {
	if w.hung == "" {
		w.hung = fmt.Sprintf("not ready within %v", s.opts.BootTimeout)
		if w.asked {
			w.hung = "did not leave in time"
		}
	}
	if w.asked && s.stopping {
		s.late = append(s.late, w)
	}
	s.logger.Warn("worker is hung: it gets SIGQUIT, to write what its goroutines do", append(w.attrs(), "reason", w.hung)...)
	s.tell(control.EventHung, w, w.hung)
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, proc.Continue} {
		_ = w.process.Signal(sig) // it may be gone already, then its exit is on the way
	}
}

func (s *supervisor) kill(w *worker) {
	if w.hung == "" {
		s.late = append(s.late, w)
	}
	s.logger.Warn("worker is killed", w.attrs()...)
	_ = w.process.Signal(os.Kill) // it may be gone already, then its exit is on the way
}

// lateError names the workers that did not leave by themselves.
func (s *supervisor) lateError() (err error) {
	for _, w := range s.late {
		err = errline.Join(err, fmt.Errorf("%v did not leave in time and was killed", w))
	}
	return err
}
