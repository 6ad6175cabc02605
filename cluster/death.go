package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"
)

func (s *supervisor) handleExit(w *worker, e exit) {
	now := time.Now()
	delete(s.workers, w.info.ID)
	slot, wasLeaving, wasLooping := w.slot, w.slot.leaving, w.slot.looping
	byItself := e == exit{} && !slot.readyAt.IsZero()
	slot.died(now, byItself, 2*rand.Float64()-1)
	died := &WorkerError{
		ID: w.info.ID, Slot: slot.number, Generation: slot.generation, PID: w.info.PID,
		Ready: !slot.readyAt.IsZero(), Reason: e.String(), LastWords: w.failure,
	}
	if !died.Ready && died.LastWords == "" {
		died.LastWords = e.lastWords
	}
	if w.hung != "" {
		died.Reason = w.hung + ", ended by us: " + died.Reason
	}
	attrs := append(w.attrs(), "reason", died.Reason, "lived", round(now.Sub(w.started)))
	switch {
	case wasLeaving:
		s.logger.Info("worker left", attrs...)
		return
	case byItself && !s.opts.DisableRestart:
		s.logger.Info("worker left by itself", append(attrs, "restart_in", s.restartIn(slot))...)
		return
	}
	if died.LastWords != "" {
		attrs = append(attrs, "last_words", died.LastWords)
	}
	s.decide(slot, died, append(attrs, "was_ready", died.Ready), wasLooping)
}

// decide says in the log what follows from the death of a worker that nobody wanted to leave.
func (s *supervisor) decide(slot *slot, died *WorkerError, attrs []any, wasLooping bool) {
	switch {
	case s.opts.DisableRestart:
		slot.stop(time.Now(), 0) // nothing runs there: it is vacant
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

func (s *supervisor) restartIn(slot *slot) time.Duration { return round(time.Until(slot.deadline)) }

// giveUpIfEmpty ends a cluster that cannot serve any more: no slot is filled, and the master does not listen.
func (s *supervisor) giveUpIfEmpty(died *WorkerError) {
	if s.empty() && (s.opts.DisableMasterListen || !s.anyEverReady()) {
		s.fail(fmt.Errorf("no worker is left, and restarting is disabled: %w", died))
	}
}

func (s *supervisor) anyEverReady() bool {
	return slices.ContainsFunc(s.slots, func(slot *slot) bool { return slot.everReady })
}

// fail ends the cluster with err.
func (s *supervisor) fail(err error) {
	s.err = err
	s.stopAll(s.opts.StopTimeout)
}

// dump makes a worker tell what all its goroutines are doing, and end.
func (s *supervisor) dump(w *worker) {
	w.hung = fmt.Sprintf("not ready within %v", s.opts.BootTimeout)
	if w.slot.leaving {
		w.hung = "did not leave in time"
		s.late = append(s.late, w)
	}
	s.logger.Warn("worker is hung: it gets SIGQUIT, to write what its goroutines do", append(w.attrs(), "reason", w.hung)...)
	_ = w.process.signal(syscall.SIGQUIT) // it may be gone already, then its exit is on the way
}

func (s *supervisor) kill(w *worker) {
	if w.hung == "" {
		s.late = append(s.late, w)
	}
	s.logger.Warn("worker is killed", w.attrs()...)
	_ = w.process.signal(os.Kill) // it may be gone already, then its exit is on the way
}

// lateError names the workers that did not leave by themselves.
func (s *supervisor) lateError() (err error) {
	for _, w := range s.late {
		err = join(err, fmt.Errorf("worker %d (slot %d, pid %d) did not leave in time and was killed",
			w.info.ID, w.info.Slot, w.info.PID))
	}
	return err
}
