package lifecycle

import (
	"fmt"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

func (s *staff) newWorker(slot *slot, as role) *worker {
	return &worker{
		state: newState(s.now, s.cfg.BootTimeout), liveness: liveness{timeout: s.cfg.LivenessTimeout},
		slot: slot, role: as, began: s.now, Info: Info{Slot: slot.number, Generation: slot.generation},
	}
}

// start starts a worker in a slot.
func (s *staff) start(slot *slot, as role) *worker {
	slot.started()
	w := s.newWorker(slot, as)
	s.starting = append(s.starting, w)
	s.do(Start{Slot: slot.number, Generation: slot.generation})
	return w
}

func (s *staff) started(info Info) {
	w := s.whoStarts(info)
	if w == nil {
		return
	}
	s.workers[w.ID] = w
	s.note(LevelInfo, w, "worker started", control.EventStarted, "")
	if w.phase == stopping { // it was to leave before it was there
		s.ask(w, w.timeLeft(s.now))
	}
	s.leaveWithAll(w)
}

func (s *staff) startFailed(e StartFailed) {
	if w := s.whoStarts(e.Info); w != nil {
		s.exited(w, e.Exit)
	}
}

func (s *staff) becameReady(w *worker) {
	if w.phase <= ready {
		s.do(Serve{w.ID})
	}
	if !w.becameReady(s.now) {
		return
	}
	w.slot.everReady = true
	took := s.now.Sub(w.began)
	s.do(Note{
		Text: "worker ready", Attrs: []any{"after", round(took)}, Worker: &w.Info, Event: control.Event{Kind: control.EventReady, Took: took},
	})
	if w.role == replacement {
		s.install(w)
	}
	w.settle(nil)
	s.announce()
}

// install makes a replacement the current worker of its slot, and retires the previous one.
func (s *staff) install(w *worker) {
	if before := s.workerIn(w.slot, current); before != nil {
		s.retire(before)
	}
	w.role, w.slot.next = current, time.Time{}
}

// retire asks a worker to leave that is no longer needed.
func (s *staff) retire(w *worker) {
	w.role = retiring
	if w.leave(s.now, s.cfg.StopTimeout) {
		s.note(LevelInfo, w, "", control.EventDraining, "")
		s.ask(w, s.cfg.StopTimeout)
	}
}

// ask asks a worker to leave, unless it is not ours to ask, or not started yet.
func (s *staff) ask(w *worker, timeout time.Duration) {
	if s.lent == nil && !slices.Contains(s.starting, w) {
		s.do(Ask{ID: w.ID, Timeout: timeout, All: s.stopping})
	}
}

func (s *staff) drained(w *worker, took time.Duration) {
	if w.drained {
		return
	}
	w.drained = true
	s.do(Note{
		Text: "worker drained", Attrs: []any{"took", took.Round(time.Microsecond)}, Worker: &w.Info,
		Event: control.Event{Kind: control.EventDrained, Took: took},
	})
}

// adopt makes a worker ours that another master has started. Of two in a slot the younger was about to replace the older, and
// still is.
func (s *staff) adopt(info Info, gone error) {
	slot := s.slotBy(info.Slot)
	w := s.newWorker(slot, current)
	w.Info, w.adopted = info, true
	if younger := s.workerIn(slot, replacement); younger != nil {
		s.install(younger) // it has a replacement itself
	}
	if s.workerIn(slot, current) != nil {
		w.role = replacement
	}
	slot.generation, slot.next = info.Generation, time.Time{}
	s.workers[info.ID] = w
	if gone != nil {
		s.exited(w, Exit{Reason: fmt.Sprintf("it was gone when it was to be adopted: %v", gone)})
		return
	}
	s.note(LevelInfo, w, "worker adopted", control.EventAdopted, "another master has started it")
	s.leaveWithAll(w)
}

// leaveWithAll asks a worker to leave that has appeared after the cluster began to stop.
func (s *staff) leaveWithAll(w *worker) {
	if s.stopping && w.leave(s.now, max(0, s.stopUntil.Sub(s.now))) {
		s.ask(w, w.timeLeft(s.now))
	}
}

// endAbsent ends a worker that lives and does not answer, as others that hang. Its slot is not known, and is filled without it.
func (s *staff) endAbsent(info Info) {
	w := s.newWorker(&slot{number: info.Slot, closed: true}, retiring)
	w.Info, w.hung = info, "did not answer its new master"
	s.workers[info.ID] = w
	s.apply(w, w.hang(s.now))
}

// apply carries out the remedy for a worker. A process that was stopped is continued for a dump.
func (s *staff) apply(w *worker, r remedy) {
	switch r {
	case none:
	case dump:
		if w.hung == "" {
			w.hung = fmt.Sprintf("not ready within %v", s.cfg.BootTimeout)
			if w.asked {
				w.hung = "did not leave in time"
			}
		}
		if w.asked && s.stopping {
			s.late = append(s.late, w.String()+" did not leave in time and was killed")
		}
		s.note(LevelWarn, w, "worker is hung: it gets SIGQUIT, to write what its goroutines do", control.EventHung, w.hung, "reason", w.hung)
		s.do(Dump{w.ID})
	case kill:
		if w.hung == "" {
			s.late = append(s.late, w.String()+" did not leave in time and was killed")
		}
		s.note(LevelWarn, w, "worker is killed", "", "")
		s.do(Kill{w.ID})
	}
}
