package lifecycle

import (
	"math"
	"slices"
)

// idRange holds the ids from first to last.
type idRange struct{ first, last int }

func (r idRange) has(id int) bool { return r.first <= id && id <= r.last }

// custody remembers which workers other masters may have started, and what is left to do when a successor returns the workers.
type custody struct {
	*staff
	others []idRange // ids of workers that may be ours some time
}

// Knows reports whether a worker of that id may belong to this cluster, started by another master of it.
func (c *custody) Knows(id int) bool {
	return slices.ContainsFunc(c.others, func(r idRange) bool { return r.has(id) })
}

// Inherit says that previous masters have used the ids up to last: their workers may still appear.
func (c *custody) Inherit(last int) { c.others = append(c.others, idRange{0, last}) }

// lend leaves the workers to a successor. Until takeUp no worker is started, asked or ended, and their events are only recorded.
func (c *custody) lend(lastID int) {
	c.lent = &loan{slots: slices.Clone(c.slots)}
	c.others = append(c.others, idRange{lastID + 1, math.MaxInt})
}

// takeUp ends lend, and does what was left undone meanwhile. The successor has used ids up to lastID.
func (c *custody) takeUp(lastID int) {
	if c.lent == nil {
		return
	}
	before := *c.lent
	c.lent = nil
	c.others[len(c.others)-1].last = lastID
	for _, slot := range slices.Clone(c.slots) {
		switch {
		case !slices.Contains(before.slots, slot): // the successor has wanted one more
			c.empty(slot)
		case c.ending:
			slot.close()
		case c.isEmpty(slot):
			slot.next = c.now
		}
	}
	for _, w := range c.sorted() {
		if w.phase == stopping { // it may not have been asked
			c.ask(w, w.timeLeft(c.now))
		}
	}
	if before.err != nil {
		c.fail(before.err)
	}
}

// meet takes in a worker that another master has started: our successor on probation, or a successor that has returned the
// workers. The worker has to leave if its slot is filled.
func (c *custody) meet(info Info) {
	if c.lent != nil || c.hasRoom(info.Slot) {
		c.adopt(info, nil)
		return
	}
	w := c.newWorker(&slot{number: info.Slot, closed: true}, retiring)
	w.Info, w.adopted = info, true
	c.workers[info.ID] = w
	w.leave(c.now, c.cfg.StopTimeout) // it is asked when it is linked
}

// hasRoom reports whether the slot has no worker.
func (c *custody) hasRoom(number int) bool {
	if !c.filled {
		return true
	}
	return !c.stopping && slices.ContainsFunc(c.slots, func(o *slot) bool {
		return o.number == number && !o.closed && c.workerIn(o, current) == nil && c.workerIn(o, replacement) == nil
	})
}
