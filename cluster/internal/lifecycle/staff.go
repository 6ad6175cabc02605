package lifecycle

import (
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// outbox collects the actions after an event.
type outbox struct {
	now time.Time // of the event
	out []Action
}

// staff is the slots and the workers, with the rules by which workers are started, replaced and ended.
type staff struct {
	outbox
	roster
	cfg       Config
	filled    bool // the number of slots has been set
	announced bool // each slot has been ready once
	ending    bool // no slot is filled from now on
	stopping  bool
	stopUntil time.Time // workers that have not left by then are to be killed
	late      []string  // the workers that had to be killed, as sentences
	lent      *loan     // a successor has the workers; nil: they are ours
	err       error     // with which the machine ends
}

// fill opens as many slots as are wanted, and closes those beyond.
func (s *staff) fill() {
	for number := 1; len(s.slots) < s.cfg.Workers; number++ {
		s.slotBy(number)
	}
	for _, slot := range slices.Backward(slices.Clone(s.slots)) {
		switch {
		case len(s.slots) > s.cfg.Workers:
			s.empty(slot)
		case s.isEmpty(slot):
			slot.next = s.now
		}
	}
	s.filled = true
	s.announce()
}

// empty removes a slot, and retires its workers. It returns its current worker, nil if it had none.
func (s *staff) empty(slot *slot) (served *worker) {
	s.dropSlot(slot)
	served = s.workerIn(slot, current)
	for _, w := range []*worker{s.workerIn(slot, replacement), served} {
		if w != nil {
			s.retire(w)
		}
	}
	return served
}

// announce returns AllReady when each slot has been ready once.
func (s *staff) announce() {
	isNew := func(slot *slot) bool { return !slot.everReady }
	if !s.filled || s.announced || slices.ContainsFunc(s.slots, isNew) {
		return
	}
	s.announced = true
	s.do(AllReady{})
}

func (s *staff) stopAll(timeout time.Duration) {
	if s.stopping {
		return
	}
	s.stopping, s.stopUntil = true, s.now.Add(timeout)
	for _, slot := range s.slots {
		slot.close()
	}
	for _, w := range s.sorted() {
		if w.leave(s.now, timeout) {
			s.ask(w, timeout)
		}
	}
}

// cut kills all that live.
func (s *staff) cut() {
	s.stopAll(0)
	for _, w := range s.sorted() {
		w.cut(s.now)
		s.apply(w, kill)
	}
}

// fail ends the cluster with err.
func (s *staff) fail(err error) {
	if s.lent != nil {
		s.lent.err = err
		return
	}
	s.err = err
	s.stopAll(s.cfg.StopTimeout)
}

// do adds an action.
func (o *outbox) do(a Action) { o.out = append(o.out, a) }

// note says something of a worker in the log, and as an event.
func (o *outbox) note(level Level, w *worker, text string, kind control.EventKind, told string, attrs ...any) {
	info := w.Info
	o.do(Note{Level: level, Text: text, Attrs: attrs, Worker: &info, Event: control.Event{Kind: kind, Text: told}})
}

// loan remembers how the slots were before a successor got the workers.
type loan struct {
	slots []*slot // that there were before
	err   error   // with which the cluster would have ended
}

func round(d time.Duration) time.Duration { return max(0, d).Round(time.Millisecond) }
