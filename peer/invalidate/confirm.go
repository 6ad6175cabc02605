package invalidate

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// acked handles a confirmation, and sends the batches that have waited for it.
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

// await waits until no process can serve the values that the batch has changed: no longer than the longest lease that ran when
// the batch was numbered.
func (w *writer) await(ctx context.Context, b *batch) error {
	if err := w.awaitBatch(ctx, b); err != nil {
		return err
	}
	if w.hasLeft() { // a process that leaves is not asked for a lease any more
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

// expire removes the members whose lease is over from a batch, and returns when to look again.
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

// unconfirmed returns the members that have not confirmed a batch, and why.
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

// leasedLocked returns the members whose lease runs, and its end.
func (w *writer) leasedLocked(now int64) map[*member]int64 {
	leased := make(map[*member]int64, len(w.readers))
	for m, r := range w.readers {
		if r.leased > now {
			leased[m] = r.leased
		}
	}
	return leased
}
