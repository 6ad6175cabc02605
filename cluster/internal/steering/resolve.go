package steering

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// resolve asks the kernel who sits at each hole. While it asks, new connections go to those who are known, once they are
// enough, and until then where the hash decides. So those who don't answer at once are asked last: a stranger, or a node
// that hangs, would get its part of the hash all the time for which it is waited for. The last index is asked first:
// strangers are in front, see reorder.
//
// A probe is a connection that a program steers to one index; the node that accepts it sits there. Nobody has the turn
// while an answer is waited for: a join changes no index, and after a leave or a death the answer is void.
func (g *group) resolve(ctx context.Context) (asked bool) {
	defer g.tellAsking(time.Time{})
	for {
		hole, timeout := g.nextHole(ctx, !asked)
		if hole == nil {
			return asked
		}
		if !asked {
			g.tellAsking(time.Now())
		}
		asked = true
		err := g.probe(ctx, hole, timeout)
		g.complain(ctx, &g.failed, err)
		if err != nil {
			return true
		}
	}
}

// nextHole returns the hole to ask about, and how long: nil when there is nothing that probes would bring to light. The
// first one of a look makes that all are asked about.
func (g *group) nextHole(ctx context.Context, first bool) (next *member, timeout time.Duration) {
	if g.take(ctx) != nil {
		return nil, 0
	}
	defer g.give()
	if g.certain() {
		return nil, 0
	}
	holes := g.nodes.Holes()
	for _, hole := range slices.Backward(holes) {
		if first {
			hole.Probes = 0
		}
		if next == nil || hole.Probes < next.Probes {
			next = hole
		}
	}
	timeouts := []time.Duration{quickTimeout, questionTimeout}
	if next == nil || next.Probes >= len(timeouts) {
		return nil, 0
	}
	return next, timeouts[next.Probes]
}

// ask finds out who sits at a hole, and fills it, unless that is not told in time.
func (g *group) probe(ctx context.Context, hole *member, timeout time.Duration) error {
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	target, err := g.target()
	if err != nil {
		return err
	}
	q, err := g.steering.kernel.NewProbe(ctx, target)
	if err != nil {
		return err
	}
	var found witness
	defer func() { g.end(q, found.agent) }()
	watching := g.watchFor(short, q.Source())
	defer g.forget(q.Source(), watching)

	sent, err := g.send(ctx, hole, q.Port())
	if err != nil || sent.hole == nil {
		return errline.Join(err, g.noteAnswer(ctx, sent, nil))
	}
	if q.Connect(short) == nil { // else the queue there is full, or whoever sits there is about to close it
		found = g.await(short, q.Source(), watching)
	}
	return g.noteAnswer(ctx, sent, found.member)
}

// witness is a member with its agent, as it was when it was asked: a member may get another agent in any turn.
type witness struct {
	*agent
	member *member
}

// end ends the connection of a probe, which has no data to lose. A node that has answered has taken it out of its queue;
// a program that knows nothing of probes is to see a client that changes its mind, and no error.
func (g *group) end(q Probe, who *agent) {
	if who != nil && !who.mute {
		_ = q.Close() // nothing is left of it
		return
	}
	g.steering.running.Go(func() { // ends within questionTimeout
		ctx, cancel := context.WithTimeout(g.steering.ctx, questionTimeout)
		defer cancel()
		_ = q.Finish(ctx) // it carried nothing
	})
}

// sentProbe is a probe connection that is under way.
type sentProbe struct {
	hole   *member
	index  int
	shifts int
}

// send steers a probe connection from a port to a hole.
func (g *group) send(ctx context.Context, hole *member, port uint16) (sentProbe, error) {
	if err := g.take(ctx); err != nil {
		return sentProbe{}, err
	}
	defer g.give()
	index := g.nodes.Index(hole)
	if index < 0 {
		return sentProbe{}, nil // it is none any more
	}
	g.mark = &reuseport.Mark{Port: port, Index: index}
	err := g.publish(ctx)
	return sentProbe{hole, index, g.nodes.Shifts()}, err // last: an attachment that is late shifts, too
}

// note takes note of an answer, unless something has happened meanwhile that makes it void.
func (g *group) noteAnswer(ctx context.Context, q sentProbe, found *member) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	g.mark = nil
	if q.hole == nil {
		return nil
	}
	listed, err := g.list(ctx)
	if err != nil {
		return err
	}
	g.reconcile(ctx, listed)
	if found == nil || g.nodes.Shifts() != q.shifts || g.nodes.Index(q.hole) != q.index || !slices.Contains(g.nodes.Members(), found) {
		q.hole.Probes++
		return nil
	}
	g.nodes.Resolve(q.hole, found)
	g.watch.answers = true
	return nil
}

// watchFor lets all members watch for a probe, and returns those that do.
func (g *group) watchFor(ctx context.Context, source netip.AddrPort) (watching []witness) {
	if g.take(ctx) != nil {
		return nil
	}
	var witnesses []witness
	for _, m := range g.callable() {
		if !m.Node.IsSuspect() { // it would take the whole time
			witnesses = append(witnesses, witness{m.Node, m})
		}
	}
	g.give()
	var calls sync.WaitGroup
	var mu sync.Mutex // guards watching
	for _, w := range witnesses {
		calls.Go(func() { // ends with ctx
			if w.expect(ctx, g.key, source) == nil {
				mu.Lock()
				defer mu.Unlock()
				watching = append(watching, w)
			}
		})
	}
	calls.Wait()
	return watching
}

// await returns the one that has accepted a probe, none if it does not tell in time.
func (g *group) await(ctx context.Context, source netip.AddrPort, watching []witness) witness {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan witness, len(watching))
	for _, w := range watching {
		g.steering.running.Go(func() { // ends with ctx
			if w.await(ctx, g.key, source) != nil {
				w = witness{}
			}
			answers <- w
		})
	}
	for range watching {
		if w := <-answers; w.member != nil {
			return w
		}
	}
	return witness{}
}

// forget lets the members forget a probe, and returns when they have: then its port may be a client's.
func (g *group) forget(source netip.AddrPort, watching []witness) {
	ctx, cancel := context.WithTimeout(g.steering.ctx, attachTimeout)
	defer cancel()
	var calls sync.WaitGroup
	for _, w := range watching {
		calls.Go(func() { // ends with ctx
			_, _ = w.forget(ctx, g.key, source) // one that is gone has forgotten it
		})
	}
	calls.Wait()
}
