package steering

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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
	// passesToTrust is how often the program has to be found to be ours until it is taken for that again; twice as often
	// if it was found not to be ours again within calm.
	passesToTrust, maxPassesToTrust = 3, 50
	calm                            = 3 * time.Second
)

// watch tells whether the program that steers a group is the one that its master has attached. Any process of the same user
// can replace it, and the kernel tells nobody. So the program sends one port that is ours alone to a member of our own; a
// connection from there now and then shows whether that still holds.
//
// It belongs to the group's turn.
type watch struct {
	question  Probe              // bound to that port; nil: there is none
	member    *member            // to whom it is steered; nil: the program that is attached has no such mark
	next      *member            // the same of the program that is being attached
	since     time.Time          // of the last attachment
	count     int                // of attachments
	asked     time.Time          // when a probe was sent last
	answers   bool               // the kernel has answered probes since the program was last known to be ours
	contested bool               // it was found not to be ours, and is not trusted since
	untold    bool               // and nobody was told yet
	takers    []control.Stranger // that have taken connections, as far as is known
	late      time.Time          // when a node was last given up that was to attach a program
	passes    int                // how often it was found to be ours since then, in a row
	needed    int                // of them
	began     time.Time          // of being contested
	ended     time.Time          // of that
}

// mark returns the mark for a program with these weights, nil if there cannot be one.
func (w *watch) mark(ctx context.Context, g *group, weights []uint32) *reuseport.Mark {
	w.next = nil
	member := w.sentinel(g, weights)
	if member == nil {
		return nil
	}
	if w.question == nil {
		target, err := g.target()
		if err != nil {
			return nil
		}
		if w.question, err = g.steering.kernel.NewProbe(ctx, target); err != nil {
			w.question = nil
			return nil
		}
	}
	w.next = member
	return &reuseport.Mark{Port: w.question.Port(), Index: g.nodes.Index(member)}
}

// sentinel returns the member that is asked: one that gets connections, the master's own if it can be.
func (w *watch) sentinel(g *group, weights []uint32) (found *member) {
	if g.level < reuseport.RungBPF || g.sink != nil {
		return nil
	}
	for i, m := range g.nodes.Order() {
		switch {
		case i >= len(weights) || weights[i] == 0 || m.Node == nil || m.Node.IsSuspect():
		case m.Node.id == g.steering.self:
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
	if w.question == nil {
		return nil
	}
	return w.question.Close()
}

// due tells whether it is time to ask.
func (w *watch) due(g *group, now time.Time) bool {
	interval, reason := watchQuiet, w.hasReason(g)
	switch {
	case w.contested:
		interval = watchContested
	case reason:
		interval = watchStrangers
	}
	return now.Sub(w.asked) >= interval && w.canAsk(g, reason)
}

// canAsk tells whether there is a member to ask. A program that does not know us sees the connection, and one whose accept
// loop pauses keeps it in its queue: they are asked only for a reason.
func (w *watch) canAsk(g *group, reason bool) bool {
	return w.member != nil && !w.member.Node.IsSuspect() && (reason || g.reservation != nil && !g.steering.pauses)
}

// hasReason tells whether there is a stranger, or was one of late.
func (w *watch) hasReason(g *group) bool {
	return w.contested || g.steering.sightings.haunted(g.address) ||
		slices.ContainsFunc(g.nodes.Members(), func(m *member) bool { return m.Node == nil })
}

// verify finds out whether the program that was attached last is the one that steers, when it is time for that. When
// there is a stranger, also one that was not seen before, it is before each attachment of a look, which would wipe the traces.
func (g *group) verify(ctx context.Context) {
	if g.take(ctx) != nil {
		return
	}
	w, now := &g.watch, time.Now()
	reason := w.hasReason(g) || g.hasUnknown(ctx)
	if !w.canAsk(g, reason) || !reason && !w.due(g, now) {
		g.give()
		return
	}
	q, m, count, shifts := w.question, witness{w.member.Node, w.member}, w.count, g.nodes.Shifts()
	proves := now.Sub(w.since) >= unprovedFor
	w.question, w.member, w.asked = nil, nil, now // the port is used up
	g.give()
	found, takers := g.whereIs(ctx, q, m)
	if found == ours {
		g.end(q, m.agent)
	} else {
		g.end(q, nil) // a program that knows nothing of probes may have it
	}
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	listed, err := g.list(ctx)
	if err != nil {
		return
	}
	g.reconcile(ctx, listed)
	switch {
	case g.watch.count != count || g.nodes.Shifts() != shifts || found == unknownWhere: // it tells nothing
	case found == ours && proves:
		g.trust()
	case found == elsewhere:
		g.distrust(takers)
	}
	g.noteStatus()
}

// hasUnknown tells whether the kernel lists a listener that was not seen before.
func (g *group) hasUnknown(ctx context.Context) bool {
	listed, err := g.list(ctx)
	return err == nil && slices.ContainsFunc(listed, func(inode uint32) bool { return g.nodes.ByInode(inode) == nil })
}

// trust takes note that the program is ours.
func (g *group) trust() {
	w := &g.watch
	w.answers = false
	if !w.contested {
		return
	}
	if w.passes++; w.passes < w.needed {
		return
	}
	w.contested, w.ended = false, time.Now()
	lasted := round(time.Since(w.began))
	g.steering.logger.Info("connections are steered by our weights again", "address", g.address, "after", lasted)
	text := fmt.Sprintf("connections to %s are steered by our weights again", g.address)
	g.steering.tell(control.Event{Kind: control.EventMended, ID: -1, Took: lasted, Text: text})
}

// distrust takes note that a program of another process steers. What was asked under it may be wrong.
func (g *group) distrust(takers []control.Stranger) {
	w := &g.watch
	g.nodes.Leak()
	if w.answers {
		w.answers = false
		g.nodes.Forget()
	}
	w.passes, w.takers = 0, takers
	if len(takers) == 0 && len(g.suspects()) == 0 && time.Since(w.late) < lateMemory {
		return // a node of ours has done it too late: the next attachment makes it good
	}
	if !w.contested {
		w.contested, w.untold, w.began = true, true, time.Now()
		if w.needed = min(2*w.needed, maxPassesToTrust); w.needed == 0 || time.Since(w.ended) > calm {
			w.needed = passesToTrust
		}
	}
}

// accuse says who steers, when this begins and when another process joins in. It comes after meet.
func (g *group) accuse(ctx context.Context) {
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	w := &g.watch
	if !w.contested {
		return
	}
	if len(w.takers) == 0 {
		w.takers = g.suspects()
	}
	names, others := g.steering.sightings.usurp(g.address, w.takers)
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

// suspects returns the stranger that is in the group, if there is one only.
func (g *group) suspects() []control.Stranger {
	strangers := slices.DeleteFunc(slices.Clone(g.nodes.Members()), func(m *member) bool { return !m.Foreign || g.met[m] == nil })
	if len(strangers) != 1 {
		return nil
	}
	return []control.Stranger{g.met[strangers[0]].Stranger}
}

// whereabouts is where a connection has gone.
type whereabouts int

const (
	unknownWhere whereabouts = iota // it is not known
	ours                            // to the member that it was steered to
	elsewhere
)

// whereIs makes the connection of a probe, and tells whether it has come to the member that it is steered to, and else
// who has it. It says elsewhere only on evidence, never because something takes long.
func (g *group) whereIs(ctx context.Context, q Probe, m witness) (whereabouts, []control.Stranger) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	if !g.expects(ctx, m, q.Source()) {
		return unknownWhere, nil
	}
	defer g.forget(q.Source(), []witness{m})
	if q.Connect(ctx) != nil {
		return unknownWhere, nil
	}
	came := make(chan bool, 1)
	g.steering.running.Go(func() { // ends with ctx
		came <- m.await(ctx, g.key, q.Source()) == nil
	})
	for {
		select {
		case answered := <-came:
			if answered {
				return ours, nil
			}
			return unknownWhere, nil
		case <-time.After(evidenceInterval):
		}
		if takers, certainly := g.taken(ctx, q, m); certainly {
			return g.lastWord(ctx, q, m, takers)
		}
	}
}

// expects lets a member watch for a probe, if it does so at once: looks wait for one that was stopped.
func (g *group) expects(ctx context.Context, m witness, source netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	return m.expect(ctx, g.key, source) == nil
}

// lastWord asks a member once more whether it has accepted a connection that seems to be elsewhere: whatever its accept
// loop was about to do is done when it has passed.
func (g *group) lastWord(ctx context.Context, q Probe, m witness, takers []control.Stranger) (whereabouts, []control.Stranger) {
	err := m.poke(ctx)
	if err != nil && (len(takers) == 0 || !errors.Is(err, errors.ErrUnsupported)) {
		return unknownWhere, nil
	}
	came, err := m.forget(ctx, g.key, q.Source())
	switch {
	case err != nil:
		return unknownWhere, nil
	case came:
		return ours, nil
	default:
		return elsewhere, takers
	}
}

// evidenceInterval is the time between two looks at what has become of a connection.
const evidenceInterval = 5 * time.Millisecond

// taken tells whether a connection seems to have gone to another member than m, and to which processes that are no nodes.
func (g *group) taken(ctx context.Context, q Probe, m witness) (takers []control.Stranger, seems bool) {
	arrival, inode, err := q.Arrival()
	switch {
	case err != nil:
		return nil, false
	case arrival == reuseport.ArrivalAccepted:
		holders, err := g.steering.kernel.Holders(ctx, inode) // none: it is just being accepted, or was closed
		for _, o := range holders {
			switch p := g.steering.ofProcess(o.PID); {
			case p == nil:
				takers = append(takers, control.Stranger{PID: o.PID, Program: o.Program, Address: g.address})
			case p.id == m.id:
				return nil, false // it will tell
			}
		}
		return takers, err == nil && len(holders) > 0
	case arrival == reuseport.ArrivalQueued:
		listeners, err := g.steering.kernel.Listeners(ctx, g.key.Network, g.address)
		if err != nil || !slices.ContainsFunc(listeners, func(l reuseport.Listener) bool { return l.Inode == m.member.Inode && l.Queue == 0 }) {
			return nil, false
		}
		again, _, err := q.Arrival()
		return nil, err == nil && again == reuseport.ArrivalQueued // it was in another queue
	default:
		return nil, arrival == reuseport.ArrivalClosed
	}
}
