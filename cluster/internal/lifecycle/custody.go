package lifecycle

import (
	"math"
	"slices"
)

// idRange holds the ids from first to last.
type idRange struct{ first, last int }

func (r idRange) has(id int) bool { return r.first <= id && id <= r.last }

// custody remembers which workers other masters may have started, and what has to be done when a successor gives the workers back.
type custody struct {
	*staff
	others []idRange // ids of workers that may be ours some time
}

// Knows tells whether a worker of that id may be ours, as another master has started it that was ours to follow.
func (c *custody) Knows(id int) bool {
	return slices.ContainsFunc(c.others, func(r idRange) bool { return r.has(id) })
}

// Inherit tells that masters before have given the ids up to last: their workers may yet come.
func (c *custody) Inherit(last int) { c.others = append(c.others, idRange{0, last}) }

// lend leaves the workers to a successor: none is started, asked or ended, and what happens to them is taken note of.
func (c *custody) lend(lastID int) {
	c.lent = &loan{slots: slices.Clone(c.slots)}
	c.others = append(c.others, idRange{lastID + 1, math.MaxInt})
}

// takeUp is the end of lend: what has not been done meanwhile is done now. The successor has given ids up to lastID.
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

// meet makes a worker ours that another master has started: one that is our successor for the time being, or one that has
// given back. It is to leave if its place is taken.
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

// hasRoom tells whether a worker of that slot is missing.
func (c *custody) hasRoom(number int) bool {
	if !c.filled {
		return true
	}
	return !c.stopping && slices.ContainsFunc(c.slots, func(o *slot) bool {
		return o.number == number && !o.closed && c.workerIn(o, current) == nil && c.workerIn(o, replacement) == nil
	})
}
