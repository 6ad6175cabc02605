package cluster

import (
	"math"
	"slices"
	"time"

	"github.com/multinode-go/multinode/peer"
)

// idRange holds the ids from first to last.
type idRange struct{ first, last int }

func (r idRange) has(id int) bool { return r.first <= id && id <= r.last }

// loan is what the supervisor remembers of the time in which a successor has the workers.
type loan struct {
	slots []*slot // that there were before
	err   error   // with which the cluster would have ended
}

// lend leaves the workers to a successor: none is started, ordered or ended, but run goes on to take note of all that
// happens to them, and of those that the successor starts. lastID is the last id that was given out.
func (s *supervisor) lend(lastID int) {
	s.loan = &loan{slots: slices.Clone(s.slots)}
	s.others = append(s.others, idRange{lastID + 1, math.MaxInt})
}

// takeUp is the end of lend: what has not been done meanwhile is done now, but no slot is filled if the cluster is about to stop.
func (s *supervisor) takeUp(lastID int, toStop bool) {
	if s.loan == nil {
		return
	}
	before := *s.loan
	s.loan = nil
	s.others[len(s.others)-1].last = lastID
	for _, slot := range slices.Clone(s.slots) {
		w := s.occupantOf(slot)
		switch {
		case !slices.Contains(before.slots, slot): // the successor has wanted one more
			s.dropSlot(slot)
			if w != nil {
				s.retire(w)
			}
		case toStop:
			slot.close()
		case w == nil && s.workerIn(slot, candidate) == nil && !slot.closed && slot.next.IsZero():
			slot.next = time.Now()
		}
	}
	for _, w := range s.workers {
		if w.phase == stopping { // the order may not have been given
			s.order(w, max(0, time.Until(w.deadline)-stopMargin))
		}
	}
	if before.err != nil {
		s.fail(before.err)
	}
}

// meet makes a worker ours that another master has started: one that is our successor for the time being, or one that has
// given back. It returns nil if the worker is none of theirs.
func (s *supervisor) meet(info peer.Info) *worker {
	if !slices.ContainsFunc(s.others, func(r idRange) bool { return r.has(info.ID) }) {
		return nil
	}
	process, err := s.sys.adopt(info)
	if err != nil {
		return nil // it is gone already
	}
	now := time.Now()
	if s.loan != nil || s.hasRoom(info.Slot) {
		return s.adoptProcess(info, process, now)
	}
	w := s.newWorker(&slot{number: info.Slot, closed: true}, now)
	w.info, w.process, w.adopted = info, process, true
	s.workers[info.ID] = w
	s.steering.expect(info.ID, info.PID)
	go s.awaitExit(info.ID, process, make(chan struct{}))
	w.part = retired // its place is taken
	w.leave(now, s.opts.StopTimeout)
	return w
}

// hasRoom tells whether a worker of that slot is missing.
func (s *supervisor) hasRoom(number int) bool {
	if !s.filled {
		return true
	}
	return !s.stopping && slices.ContainsFunc(s.slots, func(o *slot) bool {
		return o.number == number && !o.closed && s.occupantOf(o) == nil && s.workerIn(o, candidate) == nil
	})
}
