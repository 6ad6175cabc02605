// Package lifecycle holds the rules of supervision: when a slot is filled and a worker is replaced, how it is made to leave, when
// it hangs, and what a reload, a change of the number of nodes, a drain and a stop are. A [Machine] is told what has happened,
// and when, and answers with what is to be done. It has no clock, no process and no goroutine of its own: the same events make
// the same machine.
package lifecycle

import (
	"errors"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/errline"
)

// Config is what the rules depend on.
type Config struct {
	Workers         int           // slots to begin with
	BootTimeout     time.Duration // of a worker, until it is ready
	StopTimeout     time.Duration // of a worker, until it has left
	LivenessTimeout time.Duration // without an answer, until a worker hangs
	DisableRestart  bool          // a slot whose worker is gone stays empty
	LeaveTimeout    time.Duration // until a node has left its ports, at most
	MasterID        int           // the master's own node
	MasterPID       int
	MasterAccepts   bool // it has a share of the connections itself
}

// Machine supervises the workers of a cluster. Its methods may not be called at the same time.
type Machine struct {
	*staff
	prober
	*custody
	handover *handover
	orders
	settled bool // Settled has been told
	over    bool
}

// New returns a machine that has no slots until Fill.
func New(cfg Config) *Machine {
	s := &staff{cfg: cfg, roster: roster{generations: make(map[int]int), workers: make(map[int]*worker)}}
	c := &custody{staff: s}
	h := &handover{staff: s, custody: c}
	return &Machine{
		staff: s, prober: prober{staff: s}, custody: c, handover: h, orders: orders{staff: s, handover: h, accepts: cfg.MasterAccepts},
	}
}

// outbox collects what is to be done after an event.
type outbox struct {
	now time.Time // of the event
	out []Action
}

// staff is the slots and the workers, with the rules by which workers come and go.
type staff struct {
	outbox
	roster
	cfg       Config
	filled    bool // the slots are those that are wanted
	announced bool // each slot has been ready once
	ending    bool // no slot is filled any more
	stopping  bool
	stopUntil time.Time // what has not left then is to be killed
	late      []string  // who had to be killed, as sentences
	lent      *loan     // a successor has the workers; nil: they are ours
	err       error     // with which the machine ends
}

// Handle returns what is to be done after an event that has happened at now. An event about a worker that is not known is passed
// over: it may be on its way when the worker is gone.
func (m *Machine) Handle(e Event, now time.Time) []Action {
	m.now, m.out = now, nil
	if m.over {
		m.refuse(e)
		return m.out
	}
	m.handle(e)
	if !m.over {
		m.handover.advance()
		m.advance()
		m.perform()
		m.settle()
	}
	m.end()
	return m.out
}

func (m *Machine) handle(e Event) {
	switch e := e.(type) {
	case Fill:
		m.fill()
	case Ending:
		m.ending = true
		m.handover.callOff(control.ErrStopping)
	case Hurry:
		m.handover.hurried = true
	case Stop:
		m.stopAll(e.Timeout)
	case Cut:
		m.handover.hurried = true
		m.cut()
	case Quit:
		m.over = true
	case Order:
		m.order(e)
	case Cancel:
		m.cancel(e)
	case Done:
		m.done(e)
	case Hold:
		m.held = e.Name
	case Release:
		m.held = ""
	case Deposed:
		m.handover.deposed(e.OK)
		m.over = e.OK
	case Tick:
	case Adopted:
		m.adopt(e.Info, e.Gone)
	case Absent:
		m.endAbsent(e.Info)
	case Met:
		m.meet(e.Info)
	case Started:
		m.started(e.Info)
	case StartFailed:
		m.startFailed(e)
	default:
		m.handleWorker(e)
	}
}

// handleWorker handles an event about a worker that is known.
func (m *Machine) handleWorker(e Event) {
	about, ok := e.(interface{ worker() int })
	if !ok {
		m.handover.handle(e)
		return
	}
	w := m.workers[about.worker()]
	if w == nil {
		return
	}
	switch e := e.(type) {
	case Linked:
		w.isLinked, w.known = true, true
		if w.phase == stopping {
			m.ask(w, w.timeLeft(m.now))
		}
	case Unlinked:
		w.isLinked = false
	case Greeted:
		w.greeted = true
	case Ready:
		w.mute = w.mute || e.Mute
		m.becameReady(w)
	case Failed:
		w.failure = e.Reason
	case Drained:
		m.drained(w, e.Took)
	case Answered:
		m.answered(w)
	case Missed:
		w.asking = w.asking && !e.Over
		if e.Elapsed > 0 {
			m.missed(w, e.Elapsed, e.Starved)
		}
	case Exited:
		m.exited(w, e.Exit)
	}
}

// perform does what is due.
func (m *Machine) perform() {
	if m.now.Sub(m.probed) >= m.probeInterval() {
		m.probeAll()
	}
	if m.lent != nil {
		return
	}
	for _, slot := range m.slots {
		if slot.isDue(m.now) && !m.ending {
			m.start(slot, current)
		}
	}
	for _, w := range m.sorted() {
		m.apply(w, w.due(m.now))
	}
}

// Next returns when the next Tick is due at the latest, zero: never.
func (m *Machine) Next() (next time.Time) {
	consider := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	consider(m.handover.next())
	if len(m.workers) > 0 {
		consider(m.probed.Add(m.probeInterval()))
	}
	if m.lent != nil {
		return next
	}
	if !m.ending {
		for _, slot := range m.slots {
			consider(slot.next)
		}
	}
	for _, w := range m.workers {
		consider(w.deadline)
	}
	return next
}

// settle tells, once the cluster is to stop, that no successor has what is ours.
func (m *Machine) settle() {
	if m.ending && !m.settled && !m.handover.holds() {
		m.settled = true
		m.do(Settled{})
	}
}

// end ends the machine when it was told to stop and nobody lives.
func (m *Machine) end() {
	m.over = m.over || m.stopping && len(m.workers) == 0 && len(m.starting) == 0 && m.handover.phase == noHandover
	if !m.over {
		return
	}
	m.giveUpOrders()
	for _, late := range m.late {
		m.err = errline.Join(m.err, errors.New(late))
	}
	m.do(End{m.err})
}

// refuse answers an order that comes too late.
func (m *Machine) refuse(e Event) {
	if o, ok := e.(Order); ok {
		m.do(Answer{o.Seq, control.ErrStopping})
	}
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

// empty gives a slot up, and lets those leave who are in it. It returns who has served there, nil if nobody has.
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

// announce tells when each slot has been ready once.
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

// do lets something be done.
func (o *outbox) do(a Action) { o.out = append(o.out, a) }

// note says something of a worker in the log, and as an event.
func (o *outbox) note(level Level, w *worker, text string, kind control.EventKind, told string, attrs ...any) {
	info := w.Info
	o.do(Note{Level: level, Text: text, Attrs: attrs, Worker: &info, Event: control.Event{Kind: kind, Text: told}})
}
