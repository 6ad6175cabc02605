package invalidate

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// acked takes a confirmation, and sends what has waited for it.
func (w *writer) acked(m *member, in wire.Message) {
	w.mu.Lock()
	if w.readers[m] == nil || in.Session != w.session {
		w.mu.Unlock()
		return
	}
	w.confirmLocked(m, in.Seq)
	more := len(w.pending) > 0
	w.mu.Unlock()
	if more {
		w.pump()
	}
}

// confirmLocked notes that a process has applied our changes up to seq.
func (w *writer) confirmLocked(m *member, seq uint64) {
	r := w.readers[m]
	r.acked = max(r.acked, seq)
	for _, b := range w.flight {
		if b.seq <= seq {
			b.confirm(m)
		}
	}
	w.landLocked()
}

// await waits until nobody can serve what the batch has changed. It is no longer than the longest lease that ran when the
// batch got its number.
func (w *writer) await(ctx context.Context, b *batch) error {
	if err := w.awaitBatch(ctx, b); err != nil {
		return err
	}
	if w.hasLeft() { // who leaves is not asked for a lease any more
		return net.ErrClosed
	}
	return nil
}

func (w *writer) awaitBatch(ctx context.Context, b *batch) error {
	for !b.isDone() {
		timer := time.NewTimer(w.expire(b))
		select {
		case <-b.done:
		case <-timer.C:
		case <-w.closing:
			timer.Stop()
			return net.ErrClosed
		case <-ctx.Done():
			timer.Stop()
			return &UnconfirmedError{Peers: w.unconfirmed(b), Err: context.Cause(ctx)}
		}
		timer.Stop()
	}
	return nil
}

// expire takes those out of a batch whose lease is over, and returns when to look again.
func (w *writer) expire(b *batch) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := clock.Now()
	if b.seq == 0 {
		return patience
	}
	next := b.wait(now)
	w.landLocked()
	return time.Duration(max(next-now, 0))
}

// unconfirmed says who has not confirmed a batch, and why.
func (w *writer) unconfirmed(b *batch) (peers []Unconfirmed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waits := b.waits
	if b.seq == 0 { // it has not been sent yet
		waits = w.leasedLocked(clock.Now())
	}
	for m, until := range waits {
		reason := "it has not answered"
		if m.cut.Load() {
			reason = "the link to it is lost"
		}
		left := time.Duration(until - clock.Now()).Round(time.Millisecond)
		peers = append(peers, Unconfirmed{Peer: m.info, Reason: fmt.Sprintf("%s, and its lease ends in %v", reason, left)})
	}
	return byID(peers)
}

// leasedLocked returns those whose lease runs, and until when.
func (w *writer) leasedLocked(now int64) map[*member]int64 {
	leased := make(map[*member]int64, len(w.readers))
	for m, r := range w.readers {
		if r.leased > now {
			leased[m] = r.leased
		}
	}
	return leased
}
