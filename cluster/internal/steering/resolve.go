package steering

import (
	"context"
	"slices"
	"time"

	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// resolver finds out by probes which member sits at each hole of a group's map.
//
// A probe is a connection that a program steers to one index; the node that accepts it sits there. No goroutine has the turn
// while an answer is waited for: a join changes no index, and after a leave or a death the answer is void.
type resolver struct {
	*reconciler
	failed string // the last complaint about a probe
}

// resolve probes all holes. Meanwhile new connections go to the known members if there are enough of them, and else by the
// kernel's hash. So holes that do not answer at once are probed last: a stranger, or a node that hangs, would get its share of
// the hash for all the time that the probe waits. The last index is probed first: strangers are in front, see reorder.
func (r *resolver) resolve(ctx context.Context) (asked bool) {
	defer r.shown.ask(time.Time{})
	for {
		hole, timeout := r.next(ctx, !asked)
		if hole == nil {
			return asked
		}
		if !asked {
			r.shown.ask(time.Now())
		}
		asked = true
		err := r.ask(ctx, hole, timeout)
		r.complain(ctx, &r.failed, err)
		if err != nil {
			return true
		}
	}
}

// next returns the hole to ask about, and how long: nil when there is nothing that probes would bring to light. The first one
// of a look makes that all are asked about.
func (r *resolver) next(ctx context.Context, first bool) (next *member, timeout time.Duration) {
	if r.take(ctx) != nil {
		return nil, 0
	}
	defer r.give()
	if r.certain() {
		return nil, 0
	}
	for _, hole := range slices.Backward(r.nodes.Holes()) {
		if first {
			hole.Probes = 0
		}
		if next == nil || hole.Probes < next.Probes {
			next = hole
		}
	}
	timeouts := []time.Duration{quickTimeout, probeTimeout}
	if next == nil || next.Probes >= len(timeouts) {
		return nil, 0
	}
	return next, timeouts[next.Probes]
}

// ask finds out which member sits at a hole, and fills it, if a node reports the probe in time.
func (r *resolver) ask(ctx context.Context, hole *member, timeout time.Duration) error {
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := r.newProbeConn(ctx)
	if err != nil {
		return err
	}
	p := r.probe(conn)
	var found report
	defer func() { p.end(found.agent) }()
	p.expect(short, r.witnesses(short))
	defer p.forget()

	sent, err := r.send(ctx, hole, p.Port())
	if err != nil || sent.hole == nil {
		return errline.Join(err, r.note(ctx, sent, report{}))
	}
	if p.Connect(short) == nil { // else the queue there is full, or its listener is about to be closed
		found = p.await(short)
	}
	return r.note(ctx, sent, found)
}

// witnesses returns the members that can report a probe. A suspect node would take the whole time.
func (r *resolver) witnesses(ctx context.Context) (all []witness) {
	if r.take(ctx) != nil {
		return nil
	}
	defer r.give()
	for _, m := range r.callable() {
		if !m.Node.IsSuspect() {
			all = append(all, witness{m.Node, m})
		}
	}
	return all
}

// sentProbe is a probe that is under way.
type sentProbe struct {
	hole   *member
	index  int
	shifts int
}

// send steers a probe connection from a port to a hole.
func (r *resolver) send(ctx context.Context, hole *member, port uint16) (sentProbe, error) {
	if err := r.take(ctx); err != nil {
		return sentProbe{}, err
	}
	defer r.give()
	index := r.nodes.Index(hole)
	if index < 0 {
		return sentProbe{}, nil // it has been filled, or is gone
	}
	r.mark = &reuseport.Mark{Port: port, Index: index}
	err := r.publish(ctx)
	return sentProbe{hole, index, r.nodes.Shifts()}, err // last: an attachment that is late shifts, too
}

// note notes an answer, unless something has happened meanwhile that makes it void.
func (r *resolver) note(ctx context.Context, sent sentProbe, answer report) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	r.mark = nil
	if sent.hole == nil {
		return nil
	}
	listed, err := r.listed(ctx)
	if err != nil {
		return err
	}
	r.reconcile(ctx, listed)
	found := answer.member
	if answer.inode != 0 {
		found = r.nodes.ByInode(answer.inode) // nodes accept from the queues of others, too
	}
	if found == nil || r.nodes.Shifts() != sent.shifts || r.nodes.Index(sent.hole) != sent.index || !slices.Contains(r.nodes.Members(), found) {
		sent.hole.Probes++
		return nil
	}
	r.nodes.Resolve(sent.hole, found)
	r.answers = true
	return nil
}
