package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/cluster"
)

// progress tells how an order goes: one line for each slot, when its new node is ready and its old one has left.
type progress struct {
	out   io.Writer
	paint painter
	steps map[int]*step // by slot; those of which nothing was told yet
	last  cluster.EventKind
}

// step is what has happened to one slot.
type step struct {
	ready  string // "node 7 ready after 41ms"
	leaves bool   // an old node was told to leave
}

func (p *progress) add(e cluster.Event) {
	p.last = e.Kind
	switch e.Kind {
	case cluster.EventReady:
		p.at(e.Slot).ready = fmt.Sprintf("node %d %s", e.ID, strings.TrimSpace("ready "+after(e)))
	case cluster.EventDraining:
		p.at(e.Slot).leaves = true
	case cluster.EventDrained:
		p.tell(e.Slot, fmt.Sprintf("node %d %s", e.ID, strings.TrimSpace("drained "+in(e))))
	case cluster.EventLeft:
		if s := p.steps[e.Slot]; s != nil && s.leaves { // nobody has said that it was drained
			p.tell(e.Slot, fmt.Sprintf("node %d left", e.ID))
		}
	case cluster.EventDied, cluster.EventHung, cluster.EventSuspect, cluster.EventFailed:
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

// flush tells what was not told yet, as of a slot that is new.
func (p *progress) flush() {
	for _, slot := range slices.Sorted(maps.Keys(p.steps)) {
		if s := p.steps[slot]; s.ready != "" {
			fmt.Fprintf(p.out, "slot %d: %s\n", slot, s.ready)
		}
		delete(p.steps, slot)
	}
}
