package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/cluster/control"
)

// progress shows the progress of an order: one line for each slot, when its new node is ready and its old one has left.
type progress struct {
	out   io.Writer
	paint painter
	steps map[int]*step // by slot; steps that were not shown yet
}

// noSlot is the number of no slot.
const noSlot = -1

// step is the progress of one slot.
type step struct {
	ready  string // "node 7 ready after 41ms"
	leaves bool   // an old node was told to leave
}

func (p *progress) add(e control.Event) {
	switch e.Kind {
	case control.EventReady:
		p.at(e.Slot).ready = fmt.Sprintf("node %d %s", e.ID, strings.TrimSpace("ready "+after(e)))
	case control.EventDraining:
		p.flushOthers(e.Slot)
		p.at(e.Slot).leaves = true
	case control.EventDrained:
		if e.Slot == 0 {
			p.tell(0, strings.TrimSpace("the master no longer accepts, drained "+in(e)))
			return
		}
		p.tell(e.Slot, fmt.Sprintf("node %d %s", e.ID, strings.TrimSpace("drained "+in(e))))
	case control.EventLeft:
		if s := p.steps[e.Slot]; s != nil && s.leaves { // without an event that it was drained
			p.tell(e.Slot, fmt.Sprintf("node %d left", e.ID))
		}
	case control.EventDied, control.EventHung, control.EventSuspect: // of a failure, the answer tells
		fmt.Fprintln(p.out, p.paint.paint(red, strings.TrimSpace(who(e)+" "+sentence(e))))
	default:
	}
}

func (p *progress) at(slot int) *step {
	if p.steps[slot] == nil {
		p.steps[slot] = new(step)
	}
	return p.steps[slot]
}

func (p *progress) tell(slot int, more string) {
	text := more
	if s := p.at(slot); s.ready != "" {
		text = s.ready + ", " + more
	}
	delete(p.steps, slot)
	fmt.Fprintf(p.out, "slot %d: %s\n", slot, text)
}

// flush shows the steps that were not shown yet.
func (p *progress) flush() { p.flushOthers(noSlot) }

// flushOthers shows the slots with a new node and no leaving one, when it is the turn of another slot.
func (p *progress) flushOthers(turn int) {
	for _, slot := range slices.Sorted(maps.Keys(p.steps)) {
		if s := p.steps[slot]; slot != turn && s.ready != "" && (!s.leaves || turn == noSlot) {
			fmt.Fprintf(p.out, "slot %d: %s\n", slot, s.ready)
			delete(p.steps, slot)
		}
	}
}
