package steering

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// How often it is asked whether the program that steers is ours.
const (
	watchQuiet     = 700 * time.Millisecond // while nothing is wrong
	watchStrangers = 250 * time.Millisecond // while a stranger is in the group
	watchContested = 80 * time.Millisecond  // while another process attaches programs
	// unprovedFor is how long after an attachment it proves nothing that the program is ours: it could not be replaced yet.
	unprovedFor = watchContested
	// lateMemory is how long a node that was given up may still attach what it was told to.
	lateMemory = 10 * time.Second
)

// watch tells whether the program that steers a group is the one that its master has attached. Any process of the same user
// can replace it unnoticed. So the program sends one port that is ours alone to a member of our own; a
// connection from there now and then shows whether that still holds.
//
// It belongs to the group's turn.
type watch struct {
	contest
	group   *group
	conn    ProbeConn // bound to that port; nil: there is none
	member  *member   // that it is steered to; nil: the program that is attached has no such mark
	next    *member   // the same of the program that is being attached
	since   time.Time // of the last attachment
	count   int       // of attachments
	asked   time.Time // when a probe was sent last
	answers bool      // the kernel has answered probes since the program was last known to be ours
	late    time.Time // when a node was last given up that was to attach a program
}

// mark returns the mark for a program with these weights, nil if there cannot be one.
func (w *watch) mark(ctx context.Context, weights []uint32) *reuseport.Mark {
	w.next = nil
	member := w.sentinel(weights)
	if member == nil {
		return nil
	}
	if w.conn == nil {
		conn, err := w.group.newProbeConn(ctx)
		if err != nil {
			return nil
		}
		w.conn = conn
	}
	w.next = member
	return &reuseport.Mark{Port: w.conn.Port(), Index: w.group.nodes.Index(member)}
}

// sentinel returns the member to ask: it gets connections, and is the master's own if possible.
func (w *watch) sentinel(weights []uint32) (found *member) {
	if w.group.level < reuseport.RungBPF || w.group.sink != nil {
		return nil
	}
	for i, m := range w.group.nodes.Order() {
		switch {
		case i >= len(weights) || weights[i] == 0 || m.Node == nil || m.Node.IsSuspect():
		case m.Node.id == w.group.steering.self:
			return m
		case found == nil:
			found = m
		}
	}
	return found
}

// attached takes note of an attachment.
func (w *watch) attached(ok bool) {
	w.member = nil
	if ok {
		w.member = w.next
	}
	w.next, w.since = nil, time.Now()
	w.count++
}

func (w *watch) close() error {
	if w.conn == nil {
		return nil
	}
	return w.conn.Close()
}

// due tells whether it is time to ask.
func (w *watch) due(now time.Time) bool {
	interval, reason := watchQuiet, w.hasReason()
	switch {
	case w.on:
		interval = watchContested
	case reason:
		interval = watchStrangers
	}
	return now.Sub(w.asked) >= interval && w.canAsk(reason)
}

// canAsk tells whether there is a member to ask. A program that does not know us sees the connection, and where accept
// loops pause it stays in the queue: then there has to be a reason.
func (w *watch) canAsk(reason bool) bool {
	return w.member != nil && !w.member.Node.IsSuspect() && (reason || w.group.reservation != nil && !w.group.steering.pauses)
}

// hasReason tells whether there is a stranger, or was one of late.
func (w *watch) hasReason() bool {
	return w.on || w.group.steering.sightings.Haunted(w.group.address) ||
		slices.ContainsFunc(w.group.nodes.Members(), func(m *member) bool { return m.Node == nil })
}

// verify finds out whether the program that was attached last is the one that steers, when it is time for that. When
// there is a stranger, known or not, that comes before each attachment of a look, which would wipe the traces.
func (w *watch) verify(ctx context.Context) {
	g := w.group
	if g.take(ctx) != nil {
		return
	}
	now := time.Now()
	reason := w.hasReason() || g.hasUnknown(ctx)
	if !w.canAsk(reason) || !reason && !w.due(now) {
		g.give()
		return
	}
	p, to, count, shifts := g.probe(w.conn), witness{w.member.Node, w.member}, w.count, g.nodes.Shifts()
	proves := now.Sub(w.since) >= unprovedFor
	w.conn, w.member, w.asked = nil, nil, now // the port is used up
	g.give()
	found, takers := p.trace(ctx, to)
	if found == ours {
		p.end(to.agent)
	} else {
		p.end(nil) // a program that knows nothing of probes may have it
	}
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	listed, err := g.listed(ctx)
	if err != nil {
		return
	}
	g.reconcile(ctx, listed)
	switch {
	case w.count != count || g.nodes.Shifts() != shifts || found == unknownWhere: // it tells nothing
	case found == ours && proves:
		w.trust()
	case found == elsewhere:
		w.distrust(takers)
	}
	g.noteStatus()
}

// trust takes note that the program is ours.
func (w *watch) trust() {
	w.answers = false
	now := time.Now()
	if !w.won(now) {
		return
	}
	g, lasted := w.group, max(0, now.Sub(w.began)).Round(time.Millisecond)
	g.steering.logger.Info("connections are steered by our weights again", "address", g.address, "after", lasted)
	text := fmt.Sprintf("connections to %s are steered by our weights again", g.address)
	g.steering.tell(control.Event{Kind: control.EventMended, ID: -1, Took: lasted, Text: text})
}

// distrust takes note that a program of another process steers. What was asked under it may be wrong.
func (w *watch) distrust(takers []control.Stranger) {
	w.group.nodes.Leak()
	if w.answers {
		w.answers = false
		w.group.nodes.Forget()
	}
	w.passes, w.takers = 0, takers
	if len(takers) == 0 && len(w.group.strangers.suspects()) == 0 && time.Since(w.late) < lateMemory {
		return // a node of ours has done it too late: the next attachment makes it good
	}
	w.lost(time.Now())
}

// accuse reports the processes that steer, when this begins and when another one joins in. It comes after meet.
func (w *watch) accuse(ctx context.Context) {
	g := w.group
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	if !w.on {
		return
	}
	if len(w.takers) == 0 {
		w.takers = g.strangers.suspects()
	}
	names, others := g.steering.sightings.Usurp(g.address, w.takers)
	g.noteStatus()
	if !w.untold && !others {
		return
	}
	w.untold = false
	who, pid := "a process of this user", 0
	if len(names) > 0 {
		who, pid = strings.Join(names, ", "), w.takers[0].PID
	}
	g.steering.logger.Warn("stranger steers the port: our weights are attached again", "pid", pid, "who", who, "address", g.address)
	g.steering.tell(control.Event{Kind: control.EventStranger, ID: -1, PID: pid, Text: fmt.Sprintf(
		"%s has replaced the program that steers the connections to %s, and may take all of them; ours is attached again", who, g.address)})
}
