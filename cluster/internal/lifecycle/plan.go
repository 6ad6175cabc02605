package lifecycle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// MaxNodes is how many nodes can accept connections.
const MaxNodes = 1024

// plan is an order that is carried out, step by step.
type plan struct {
	Order
	begun time.Time
	more  string // of Scale: to how many
	steps []*step
	given error // the caller no longer waits, for this reason: the plan ends between two steps
}

// step is a part of a plan. It begins once, and is looked at after each event until it is done.
type step struct {
	what       func(*step) // begins it
	begun      bool
	fresh, old *worker // fresh has to become ready, and then old has to leave the port; nil: none
	dropsFresh bool    // the slot of fresh is given up when it does not become ready
	outside    bool    // Done ends it
	done       bool
	err        error
}

// orders are carried out one after the other.
type orders struct {
	*staff
	handover *handover
	held     string // the operation that keeps orders waiting; "": none
	accepts  bool   // the master has a share of the connections
	plan     *plan  // nil: none is carried out
	waiting  []Order
}

// order takes an order, which is carried out when those before it are.
func (q *orders) order(o Order) {
	switch {
	case q.stopping || q.ending:
		q.do(Answer{o.Seq, control.ErrStopping})
		return
	case o.AtOnce && (q.held != "" || q.plan != nil || len(q.waiting) > 0):
		q.do(Answer{o.Seq, control.ErrBusy})
		return
	case o.Signal != "":
		same := func(w Order) bool { return w.Signal != "" && w.Name == o.Name }
		if i := slices.IndexFunc(q.waiting, same); i >= 0 {
			q.merge(&q.waiting[i], o)
			return
		}
		q.do(Note{Text: "order by signal", Attrs: []any{"signal", o.Signal, "order", o.Name}})
	}
	q.waiting = append(q.waiting, o)
}

// merge makes an order part of one that waits. The count stays within bounds that make sense.
func (q *orders) merge(waits *Order, o Order) {
	waits.Count = max(-MaxNodes, min(waits.Count+o.Count, MaxNodes))
	if !waits.merged { // else it is in the log
		q.do(Note{
			Text:  "order by signal: one of its kind waits already, and stands for all that come until it begins",
			Attrs: []any{"signal", o.Signal, "order", o.Name},
		})
	}
	waits.merged = true
	q.do(Answer{o.Seq, nil})
}

// cancel drops an order whose caller no longer waits.
func (q *orders) cancel(e Cancel) {
	if i := slices.IndexFunc(q.waiting, func(o Order) bool { return o.Seq == e.Seq }); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.do(Answer{e.Seq, fmt.Errorf("wait for another operation to end: %w", e.Err)})
		return
	}
	p := q.plan
	if p == nil || p.Seq != e.Seq || len(p.steps) == 0 {
		return
	}
	s := p.steps[0]
	switch {
	case p.Kind == Takeover:
		q.handover.callOff(e.Err)
	case s.outside:
		p.given = e.Err // it ends when that is done
	case s.fresh != nil && !s.fresh.settled:
		q.letGo(s)
		q.finish(fmt.Errorf("slot %d: %v was not ready: %w", s.fresh.slot.number, s.fresh, e.Err))
	case s.old != nil:
		q.finish(fmt.Errorf("%v is replaced, and still drains: %w", s.old, e.Err))
	}
}

// letGo retires a replacement that is no longer waited for. If the worker that it was to replace has died meanwhile, the slot is
// filled again.
func (q *orders) letGo(s *step) {
	slot := s.fresh.slot
	if s.dropsFresh {
		q.empty(slot)
		return
	}
	q.retire(s.fresh)
	if q.workerIn(slot, current) == nil && !slot.closed {
		slot.next = q.now
	}
}

// done notes that an action outside of the machine has ended.
func (q *orders) done(e Done) {
	if p := q.plan; p != nil && p.Seq == e.Seq && len(p.steps) > 0 && p.steps[0].outside {
		p.steps[0].done, p.steps[0].err = true, e.Err
	}
}

// advance continues the plan as far as possible, and then begins the next one.
func (q *orders) advance() {
	if q.stopping {
		q.giveUpOrders()
	} else if q.ending {
		q.giveUpWaiting()
	}
	for {
		if q.plan == nil {
			if len(q.waiting) == 0 || q.held != "" || q.lent != nil {
				return
			}
			next := q.waiting[0]
			q.waiting = q.waiting[1:]
			q.begin(next)
			continue
		}
		p := q.plan
		if len(p.steps) == 0 {
			q.finish(nil)
			continue
		}
		s := p.steps[0]
		if !s.begun {
			s.begun = true
			s.what(s)
		}
		if s.outside && !s.done {
			return
		}
		if s.err == nil && s.fresh != nil {
			if !s.fresh.settled {
				return
			}
			if err := s.fresh.unsettled; err != nil {
				if s.dropsFresh {
					q.empty(s.fresh.slot)
				}
				s.err = fmt.Errorf("slot %d: %w", s.fresh.slot.number, err)
			}
		}
		if s.err == nil && s.old != nil && !s.old.drained {
			return
		}
		p.steps = p.steps[1:]
		if err := s.err; err != nil || p.given != nil && len(p.steps) > 0 {
			q.finish(cmp.Or(err, p.given))
		}
	}
}

// begin makes an order the plan.
func (q *orders) begin(o Order) {
	p := &plan{Order: o, begun: q.now}
	q.plan = p
	switch o.Kind {
	case Reload:
		q.do(Reloading{true})
		q.do(Note{Text: "reloading", Event: control.Event{Kind: control.EventReloading, ID: -1}})
		open := slices.Clone(q.slots) // without the slot that replaces the master
		if q.accepts {
			p.steps = q.replaceMaster()
		}
		for _, slot := range open {
			p.steps = append(p.steps, q.renew(slot))
		}
	case Scale, ScaleBy:
		q.planScale(p)
	case Drain:
		q.planDrain(p)
	case Takeover:
		p.steps = []*step{{outside: true, what: func(*step) { q.handover.begin(q.finish) }}}
	}
}

// Nodes returns how many nodes are meant to accept connections.
func (q *orders) Nodes() int {
	if q.accepts {
		return len(q.slots) + 1
	}
	return len(q.slots)
}

func (q *orders) planScale(p *plan) {
	count := p.Count
	if p.Kind == ScaleBy {
		if count = max(1, min(q.Nodes()+p.Count, MaxNodes)); count == q.Nodes() {
			count = q.Nodes() + p.Count // which is an error
		}
	}
	p.more = fmt.Sprint(count)
	if count < 1 || count > MaxNodes {
		q.finish(fmt.Errorf("it must be 1 to %d nodes", MaxNodes))
		return
	}
	more := count - q.Nodes()
	p.steps = append(p.steps, &step{outside: true, what: func(*step) { q.do(Room{p.Seq, more}) }})
	p.steps = append(p.steps, &step{what: func(*step) {
		q.do(Note{
			Text: "scaling", Attrs: []any{"nodes", count},
			Event: control.Event{Kind: control.EventScaling, ID: -1, Text: fmt.Sprintf("to %d nodes", count)},
		})
	}})
	for range more {
		p.steps = append(p.steps, q.grow())
	}
	for i := range -more {
		p.steps = append(p.steps, q.shrink(q.slots[len(q.slots)-1-i]))
	}
}

func (q *orders) planDrain(p *plan) {
	if p.Node == q.cfg.MasterID && q.accepts {
		p.steps = q.replaceMaster()
		return
	}
	w := q.workers[p.Node]
	if w == nil || w.role != current {
		q.finish(control.ErrNoNode)
		return
	}
	p.steps = []*step{q.renew(w.slot)}
}

// renew replaces the worker of a slot by a new one. A slot that stays empty is passed over.
func (q *orders) renew(slot *slot) *step {
	return &step{what: func(s *step) {
		if slot.closed {
			return
		}
		s.old = q.workerIn(slot, current)
		s.fresh = q.start(slot, replacement)
	}}
}

// grow adds a slot with a worker.
func (q *orders) grow() *step {
	return &step{dropsFresh: true, what: func(s *step) { s.fresh = q.start(q.addSlot(), replacement) }}
}

// shrink removes a slot, and retires its worker.
func (q *orders) shrink(slot *slot) *step {
	return &step{what: func(s *step) { s.old = q.empty(slot) }}
}

// replaceMaster puts one more worker in the place of the master, which only supervises from then on.
func (q *orders) replaceMaster() []*step {
	return []*step{q.grow(), {outside: true, what: func(*step) {
		q.accepts = false
		q.do(LeavePorts{q.plan.Seq})
	}}}
}

// finish ends the plan, for the reason err.
func (q *orders) finish(err error) {
	p := q.plan
	q.plan = nil
	took := q.now.Sub(p.begun)
	if p.Kind == Reload {
		q.do(Reloading{false})
	}
	switch {
	case err == nil && p.Kind == Reload:
		q.do(Note{
			Text: "reloaded", Attrs: []any{"took", round(took)}, Event: control.Event{Kind: control.EventReloaded, ID: -1, Took: took},
		})
	case err == nil && (p.Kind == Scale || p.Kind == ScaleBy):
		q.do(Note{
			Text: "scaled", Attrs: []any{"nodes", p.more, "took", round(took)},
			Event: control.Event{Kind: control.EventScaled, ID: -1, Text: "to " + p.more + " nodes", Took: took},
		})
	case err == nil:
	case p.Kind == Reload:
		err = fmt.Errorf("reload: the nodes that were not replaced continue: %w", err)
	case p.Kind == Scale || p.Kind == ScaleBy:
		err = fmt.Errorf("scale to %s: %w", p.more, err)
	case p.Kind == Drain:
		err = fmt.Errorf("drain node %d: %w", p.Node, err)
	}
	switch {
	case errors.Is(err, control.ErrStopping):
		q.do(Note{Text: "an order is given up, as the cluster stops", Attrs: []any{"order", p.Name, "error", err}})
	case err != nil:
		q.do(Note{
			Level: LevelError, Text: "an order has failed", Attrs: []any{"error", err},
			Event: control.Event{Kind: control.EventFailed, ID: -1, Text: err.Error()},
		})
	}
	q.do(Answer{p.Seq, err})
}

// giveUpOrders ends all orders, as the cluster stops. A takeover ends by itself.
func (q *orders) giveUpOrders() {
	q.giveUpWaiting()
	if q.plan != nil && q.plan.Kind != Takeover {
		q.finish(control.ErrStopping)
	}
}

func (q *orders) giveUpWaiting() {
	for _, o := range q.waiting {
		q.do(Answer{o.Seq, control.ErrStopping})
	}
	q.waiting = nil
}
