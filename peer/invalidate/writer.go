package invalidate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// patience is how long what is to be sent waits for the confirmations of what was sent before, to go together with what
// comes meanwhile. When nothing is on its way, nothing waits.
const patience = time.Millisecond

// post takes ops into our stream: drops are ops that can be taken together, marks begins or ends of updates. It returns the
// batch that they are in.
func (g *group) post(drops, marks []byte, count int) (*batch, error) {
	g.mu.Lock()
	if g.left {
		g.mu.Unlock()
		return nil, net.ErrClosed
	}
	b := g.queueLocked(drops, marks, count)
	g.mu.Unlock()
	g.pump()
	return b, nil
}

// queueLocked puts ops into the batch that is sent next, or begins another one.
func (g *group) queueLocked(drops, marks []byte, count int) (b *batch) {
	if n := len(g.pending); n > 0 && (len(marks) == 0 || len(g.pending[n-1].marks)+len(marks) <= maxBatch) {
		b = g.pending[n-1]
	} else {
		b = newBatch()
		g.pending = append(g.pending, b)
	}
	b.drop(drops, count)
	b.marks = append(b.marks, marks...)
	return b
}

// pump sends what is pending, if its time has come.
func (g *group) pump() { g.send(g.pumpSending) }

func (g *group) pumpSending() {
	for {
		b := g.next()
		if b == nil {
			return
		}
		g.changes.Add(uint64(b.ops))
		if !b.alone {
			g.sent.Add(1)
			g.broadcast(b.message(g.session))
		}
	}
}

// send calls f, in its turn, with what sends on our stream.
func (g *group) send(f func()) {
	g.sending.Lock()
	defer g.sending.Unlock()
	f()
}

// broadcast sends to all that have the cache. Where it does not get through it is a gap, which ends in a flush there.
func (g *group) broadcast(m message) {
	g.report(g.bus.Broadcast(context.Background(), g.topic, m.encode()))
}

// next gives the next batch its number, if there is one whose time has come.
func (g *group) next() *batch {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) == 0 {
		return nil
	}
	now := clock.Now()
	if n := len(g.flight); n > 0 {
		if left := g.flight[n-1].cutAt + int64(patience) - now; left > 0 {
			g.alarmLocked(time.Duration(left))
			return nil
		}
	}
	b := g.pending[0]
	g.pending = slices.Delete(g.pending, 0, 1)
	g.seq++
	b.cut(g.seq, now, g.leasedLocked(now))
	b.alone = len(g.members) == 0 // whoever comes later takes our stream up after it
	g.markLocked(b)
	g.adopting -= b.adopted
	g.flight = append(g.flight, b)
	g.landLocked()
	return b
}

// markLocked keeps which updates are open, for those who take the stream up from here on.
func (g *group) markLocked(b *batch) {
	_ = eachOp(b.marks, func(o op, key []byte) error { // we have encoded them
		if o == opBegin {
			g.open[string(key)]++
		} else if g.open[string(key)]--; g.open[string(key)] <= 0 {
			delete(g.open, string(key))
		}
		return nil
	})
}

func (g *group) alarmLocked(after time.Duration) {
	switch {
	case g.left:
	case g.timer == nil:
		g.timer = time.AfterFunc(after, g.pump)
	default:
		g.timer.Reset(after)
	}
}

// landLocked forgets the batches that are done.
func (g *group) landLocked() { g.flight = slices.DeleteFunc(g.flight, (*batch).isDone) }

// acked takes a confirmation, and sends what has waited for it.
func (g *group) acked(from peer.Info, in message) {
	g.mu.Lock()
	m := g.members[from.Incarnation]
	if m == nil || in.session != g.session {
		g.mu.Unlock()
		return
	}
	g.confirmLocked(m, in.seq)
	more := len(g.pending) > 0
	g.mu.Unlock()
	if more {
		g.pump()
	}
}

// confirmLocked notes that a process has applied our changes up to seq.
func (g *group) confirmLocked(m *member, seq uint64) {
	m.acked = max(m.acked, seq)
	for _, b := range g.flight {
		if b.seq <= seq {
			b.confirm(m)
		}
	}
	g.landLocked()
}

// await waits until nobody can serve what the batch has changed. It is no longer than the longest lease that ran when the
// batch got its number.
func (g *group) await(ctx context.Context, b *batch) error {
	if err := g.awaitBatch(ctx, b); err != nil {
		return err
	}
	return g.check() // who leaves is not asked for a lease any more
}

func (g *group) awaitBatch(ctx context.Context, b *batch) error {
	for !b.isDone() {
		timer := time.NewTimer(g.expire(b))
		select {
		case <-b.done:
		case <-timer.C:
		case <-g.closing:
			timer.Stop()
			return net.ErrClosed
		case <-ctx.Done():
			timer.Stop()
			return &UnconfirmedError{Peers: g.unconfirmed(b), Err: context.Cause(ctx)}
		}
		timer.Stop()
	}
	return nil
}

// expire takes those out of a batch whose lease is over, and returns when to look again.
func (g *group) expire(b *batch) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := clock.Now()
	if b.seq == 0 {
		return patience
	}
	next := b.wait(now)
	g.landLocked()
	return time.Duration(max(next-now, 0))
}

// errUnknown is why an invalidation of a process is not confirmed that not all know of.
var errUnknown = errors.New("this process is new, and not all that live know yet that it has the cache")

// awaitKnown waits until all that live know that this process has the cache, but no longer than its lease.
func (g *group) awaitKnown(ctx context.Context) error {
	select {
	case <-g.known:
		return nil
	default:
	}
	timer := time.NewTimer(g.length)
	defer timer.Stop()
	select {
	case <-g.known:
		return nil
	case <-g.closing:
		return net.ErrClosed
	case <-timer.C:
		return &UnconfirmedError{Peers: g.strangers(), Err: errUnknown}
	case <-ctx.Done():
		return &UnconfirmedError{Peers: g.strangers(), Err: fmt.Errorf("%w: %w", context.Cause(ctx), errUnknown)}
	}
}

// unconfirmed says who has not confirmed a batch, and why.
func (g *group) unconfirmed(b *batch) (peers []Unconfirmed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waits := b.waits
	if b.seq == 0 { // it has not been sent yet
		waits = g.leasedLocked(clock.Now())
	}
	for m, until := range waits {
		reason := "it has not answered"
		if m.cut {
			reason = "the link to it is lost"
		}
		left := time.Duration(until - clock.Now()).Round(time.Millisecond)
		peers = append(peers, Unconfirmed{Peer: m.info, Reason: fmt.Sprintf("%s, and its lease ends in %v", reason, left)})
	}
	return byID(peers)
}

// leasedLocked returns those whose lease runs, and until when.
func (g *group) leasedLocked(now int64) map[*member]int64 {
	leased := make(map[*member]int64, len(g.members))
	for _, m := range g.members {
		if m.leased > now {
			leased[m] = m.leased
		}
	}
	return leased
}

// strangers says who does not know this process yet, and why.
func (g *group) strangers() (peers []Unconfirmed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.problems {
		peers = append(peers, one)
	}
	return byID(peers)
}

func byID(peers []Unconfirmed) []Unconfirmed {
	slices.SortFunc(peers, func(a, b Unconfirmed) int { return cmp.Compare(a.Peer.ID, b.Peer.ID) })
	return peers
}
