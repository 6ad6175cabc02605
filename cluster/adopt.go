package cluster

import (
	"fmt"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/peer"
)

// adoptAll takes over the workers that a master has left. It comes before run. Of two in a slot the younger was about to
// replace the older, and still is.
func (s *supervisor) adoptAll(nodes []peer.Info) {
	workers := slices.DeleteFunc(slices.Clone(nodes), func(info peer.Info) bool { return !isWorker(info) })
	slices.SortFunc(workers, func(a, b peer.Info) int { return a.Generation - b.Generation })
	for _, info := range workers {
		s.adopt(info, time.Now())
	}
}

func (s *supervisor) adopt(info peer.Info, now time.Time) {
	process, err := s.sys.adopt(info)
	w := s.adoptProcess(info, process, now)
	if err != nil {
		s.handleExit(w, proc.Exit{Err: fmt.Errorf("it was gone when it was to be adopted: %w", err)})
	}
}

// adoptProcess makes a worker of a process, which is nil if it is gone already.
func (s *supervisor) adoptProcess(info peer.Info, process *proc.Process, now time.Time) *worker {
	slot := s.slotBy(info.Slot)
	w := s.newWorker(slot, now)
	w.info, w.process, w.adopted = info, process, true
	if younger := s.workerIn(slot, candidate); younger != nil {
		s.install(younger) // it has a replacement itself
	}
	if s.occupantOf(slot) != nil {
		w.part = candidate
	}
	slot.generation, slot.next = info.Generation, time.Time{}
	s.workers[info.ID] = w
	s.steering.expect(info.ID, info.PID)
	if process != nil {
		s.logger.Info("worker adopted", w.attrs()...)
		s.tell(control.EventAdopted, w, "another master has started it")
		go s.awaitExit(info.ID, process, make(chan struct{}))
	}
	return w
}

// endAll ends workers that live and do not answer, as others that hang. It comes before run. Their slots are not known, and
// are filled without them. A guest of the mesh is not ours to end.
func (s *supervisor) endAll(absent []peer.Info) {
	for _, info := range absent {
		if !boot.HasRole(info.PID) {
			s.logger.Warn("a guest does not answer: it is passed over", "id", info.ID, "pid", info.PID)
			continue
		}
		process, err := s.sys.adopt(info)
		if err != nil {
			s.logger.Warn("a node does not answer, and cannot be ended", "id", info.ID, "pid", info.PID, "error", err)
			continue
		}
		w := s.newWorker(&slot{closed: true}, time.Now())
		w.info, w.process, w.part, w.hung = info, process, retired, "did not answer its new master"
		s.workers[info.ID] = w
		s.steering.expect(info.ID, info.PID) // what it listens on is no stranger's
		s.act(w, w.hang(time.Now()))
		go s.awaitExit(info.ID, process, make(chan struct{}))
	}
}

// slotBy returns the slot of that number, which is added if there is none.
func (s *supervisor) slotBy(number int) *slot {
	for _, slot := range s.slots {
		if slot.number == number {
			return slot
		}
	}
	added := &slot{number: number, generation: s.generations[number]}
	s.slots = append(s.slots, added)
	slices.SortFunc(s.slots, func(a, b *slot) int { return a.number - b.number })
	return added
}

// awaitAdopted waits until all that were adopted have told what they have, or are gone. Those that have not in time are
// ended as others that do not answer.
func (s *supervisor) awaitAdopted(timeout time.Duration) {
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		waiting := false
		s.do(func() {
			for _, w := range s.workers {
				waiting = waiting || w.adopted && (w.greeted == nil || !isClosed(w.greeted))
			}
		})
		if !waiting {
			return
		}
	}
}

// fill opens as many slots as are wanted, and closes those beyond.
func (s *supervisor) fill() {
	wanted := s.opts.workers()
	for number := 1; len(s.slots) < wanted; number++ {
		s.slotBy(number)
	}
	for _, slot := range slices.Backward(slices.Clone(s.slots)) {
		switch w := s.occupantOf(slot); {
		case len(s.slots) > wanted:
			s.dropSlot(slot)
			if w != nil {
				s.retire(w)
			}
		case w == nil && !slot.closed:
			slot.next = time.Now()
		}
	}
	s.filled = true
	s.announceReady()
}
