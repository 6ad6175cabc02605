// Package lifecycle holds the rules of supervision: when a slot is filled and a worker is replaced, how a worker is asked to
// leave, when it hangs, and the steps of a reload, a change of the number of nodes, a drain and a stop. A [Machine] gets events
// with their time, and returns actions. It has no clock, no process and no goroutine of its own: the same events make the same
// machine.
package lifecycle

import (
	"errors"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/errline"
)

// Machine supervises the workers of a cluster. Its methods may not be called at the same time.
type Machine struct {
	*staff
	prober
	*custody
	handover *handover
	orders
	settled bool // Settled has been returned
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

// Handle returns the actions after an event at now. An event about an unknown worker is ignored: it may have been on its way when
// the worker was forgotten.
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

// perform applies all rules whose time has come.
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

// settle returns Settled, once the cluster is to stop and no successor has our workers and ports.
func (m *Machine) settle() {
	if m.ending && !m.settled && !m.handover.holds() {
		m.settled = true
		m.do(Settled{})
	}
}

// end ends the machine when it was told to stop and no worker is left.
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
