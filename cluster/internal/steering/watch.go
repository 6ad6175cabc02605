package steering

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// How often it is asked whether the program that steers is ours.
const (
	watchQuiet     = 700 * time.Millisecond // while nothing is wrong
	watchStrangers = 250 * time.Millisecond // while a stranger is in the group
	watchContested = 80 * time.Millisecond  // while another process attaches programs
	// provesAfter is how long after an attachment a probe proves that the program is ours: earlier it could not have been replaced.
	provesAfter = watchContested
	// lateMemory is how long after a timeout a node may still attach a program.
	lateMemory = 10 * time.Second
)

// watch finds out whether the program that steers a group is the one that its master has attached. Any process of the same user
// can replace it unnoticed. So the program sends one port that is ours alone to a member of our own, the sentinel; a connection
// from there now and then shows whether that still holds.
//
// It belongs to the group's turn.
type watch struct {
	*reconciler
	talks bool      // nodes of ours listen on the port, not programs that know nothing of probes
	asked time.Time // when a probe was sent last
}

// due reports whether it is time for a probe.
func (w *watch) due(now time.Time) bool {
	interval, reason := watchQuiet, w.hasReason()
	switch {
	case w.contest.on:
		interval = watchContested
	case reason:
		interval = watchStrangers
	}
	return now.Sub(w.asked) >= interval && w.canAsk(reason)
}

// canAsk reports whether there is a member to probe. A foreign program sees the connection, and where accept loops pause it stays
// in the queue: there a probe needs a reason.
func (w *watch) canAsk(reason bool) bool {
	return w.sentinel.member != nil && !w.sentinel.member.Node.IsSuspect() && (reason || w.talks && !w.env.pauses)
}

// hasReason reports whether there is a stranger, or was one recently.
func (w *watch) hasReason() bool {
	return w.contest.on || w.env.sightings.Haunted(w.address) ||
		slices.ContainsFunc(w.nodes.Members(), func(m *member) bool { return m.Node == nil })
}

// verify finds out whether the program that was attached last is the one that steers, when it is time for that. If there is a
// stranger, known or not, a look does this before its first attachment, which would wipe the traces.
func (w *watch) verify(ctx context.Context) {
	if w.take(ctx) != nil {
		return
	}
	now := time.Now()
	reason := w.hasReason() || w.hasUnknown(ctx)
	if !w.canAsk(reason) || !reason && !w.due(now) {
		w.give()
		return
	}
	count, shifts := w.sentinel.count, w.nodes.Shifts()
	proves := now.Sub(w.sentinel.attached) >= provesAfter
	conn, m := w.sentinel.use()
	p, to := w.probe(conn), witness{m.Node, m}
	w.asked = now
	w.give()
	found, takers := p.trace(ctx, to)
	if found == ours {
		p.end(to.agent)
	} else {
		p.end(nil) // a program that knows nothing of probes may have it
	}
	if w.take(ctx) != nil {
		return
	}
	defer w.give()
	listed, err := w.listed(ctx)
	if err != nil {
		return
	}
	w.reconcile(ctx, listed)
	switch {
	case w.sentinel.count != count || w.nodes.Shifts() != shifts || found == unknownWhere: // the probe proves nothing
	case found == ours && proves:
		w.trust()
	case found == elsewhere:
		w.distrust(takers)
	}
	w.noteStatus()
}

// trust notes that the program is ours.
func (w *watch) trust() {
	w.answers = false
	now := time.Now()
	if !w.contest.won(now) {
		return
	}
	lasted := max(0, now.Sub(w.contest.began)).Round(time.Millisecond)
	w.env.logger.Info("connections are steered by our weights again", "address", w.address, "after", lasted)
	text := fmt.Sprintf("connections to %s are steered by our weights again", w.address)
	w.env.tell(control.Event{Kind: control.EventMended, ID: -1, Took: lasted, Text: text})
}

// distrust notes that a program of another process steers. Answers to probes under it may be wrong.
func (w *watch) distrust(takers []control.Stranger) {
	w.nodes.Leak()
	if w.answers {
		w.answers = false
		w.nodes.Forget()
	}
	w.contest.passes, w.contest.takers = 0, takers
	if len(takers) == 0 && len(w.strangers.suspects()) == 0 && time.Since(w.late) < lateMemory {
		return // a node of ours has done it too late: the next attachment makes it good
	}
	w.contest.lost(time.Now())
}

// accuse reports the processes that steer, when this begins and when another one joins in. It runs after meet.
func (w *watch) accuse(ctx context.Context) {
	if w.take(ctx) != nil {
		return
	}
	defer w.give()
	if !w.contest.on {
		return
	}
	if len(w.contest.takers) == 0 {
		w.contest.takers = w.strangers.suspects()
	}
	names, others := w.env.sightings.Usurp(w.address, w.contest.takers)
	w.noteStatus()
	if !w.contest.untold && !others {
		return
	}
	w.contest.untold = false
	who, pid := "a process of this user", 0
	if len(names) > 0 {
		who, pid = strings.Join(names, ", "), w.contest.takers[0].PID
	}
	w.env.logger.Warn("stranger steers the port: our weights are attached again", "pid", pid, "who", who, "address", w.address)
	w.env.tell(control.Event{Kind: control.EventStranger, ID: -1, PID: pid, Text: fmt.Sprintf(
		"%s has replaced the program that steers the connections to %s, and may take all of them; ours is attached again", who, w.address)})
}
