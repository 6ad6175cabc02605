package invalidate

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// patience is how long a change waits for the confirmations of the message before, to be sent together with the changes that
// come meanwhile. When no message is in flight, a change does not wait.
const patience = time.Millisecond

// writer sends the changes of this process, for Invalidate and Update: its stream, and the members that have to confirm it.
//
// Locks: sending is held while messages of the stream are sent, so that they are in order, and mu is taken within it. The
// membership calls add and drop with its own mutex held. With mu held nothing is locked, sent or waited for.
type writer struct {
	*transport
	changes, sent atomic.Uint64 // for Stats
	sending       sync.Mutex

	mu       sync.Mutex
	readers  map[*member]*reader // guarded by mu; all members
	seq      uint64              // guarded by mu; of our last change
	pending  []*batch            // guarded by mu; not sent yet
	flight   []*batch            // guarded by mu; sent, and not done
	open     map[string]int      // guarded by mu; keys of our updates, as of seq
	adopting int                 // guarded by mu; how many dropped members may have open updates that are not in open yet
	timer    *time.Timer         // guarded by mu; sends the pending batches; nil before its first use
}

// reader is what the writer knows of a member.
type reader struct {
	leased int64  // end of its lease from us
	acked  uint64 // the last of our changes that it has applied
}

// add begins to wait for a new member.
func (w *writer) add(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readers[m] = new(reader)
}

// drop ends the wait for a member that serves nothing any more. No new process is granted a lease before the updates that the
// member has left open are in our stream, see adopt.
func (w *writer) drop(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.readers, m)
	w.adopting++
	for _, b := range w.flight {
		b.confirm(m)
	}
	w.landLocked()
}

// adopt begins the open updates of a dead process in our stream, for new processes that do not know them. It returns false if
// there is none to end.
func (w *writer) adopt(keys []string) bool {
	var begins []byte
	for _, key := range keys {
		begins = wire.AppendOp(begins, wire.OpBegin, []byte(key))
	}
	w.mu.Lock()
	if len(keys) == 0 || w.hasLeft() {
		w.adopting--
		w.mu.Unlock()
		return false
	}
	b := w.queueLocked(nil, begins, len(keys))
	b.adopted++
	w.mu.Unlock()
	w.pump()
	return true
}

// grant lets a member serve its stored values for a time, if it has applied our changes up to now. It synchronizes a member that
// is not in step with our stream.
func (w *writer) grant(m *member, ask wire.Message) (wire.Message, error) {
	inStep := ask.Session == w.session
	answer, err := w.lease(m, ask, inStep)
	if err == nil && !inStep {
		w.inTurn(func() { w.sync(m.info) })
	}
	return answer, err
}

func (w *writer) lease(m *member, ask wire.Message, inStep bool) (answer wire.Message, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.readers[m]
	switch {
	case w.hasLeft():
		return answer, net.ErrClosed
	case r == nil || !inStep && !w.isToldLocked(m, ask.Ops):
		return answer, errChanged
	}
	r.leased = max(r.leased, clock.Now()+int64(ask.Time))
	if inStep {
		w.confirmLocked(m, ask.Seq)
	}
	return wire.Message{Kind: wire.Grant, Session: w.session, Seq: w.seq}, nil
}

// isToldLocked reports whether a new process receives all open updates: it has found each of our members alive, and asks them,
// and the open updates of dead members are in our stream by now.
func (w *writer) isToldLocked(comes *member, found []byte) bool {
	if len(found) == 0 { // it is not new: it sees the end of each of them itself
		return true
	}
	isFound := make(map[rendezvous.Incarnation]bool)
	for ; len(found) >= wire.IncarnationSize; found = found[wire.IncarnationSize:] {
		isFound[rendezvous.Incarnation(binary.BigEndian.Uint64(found))] = true
	}
	for m := range w.readers {
		if m != comes && !isFound[m.info.Incarnation] {
			return false
		}
	}
	return w.adopting == 0
}

// sync sends a process the number of our last change and the open updates. The caller runs inTurn.
func (w *writer) sync(to peer.Info) {
	m := wire.Message{Kind: wire.Sync, Session: w.session}
	w.mu.Lock()
	m.Seq = w.seq
	for key, count := range w.open {
		for range count {
			m.Ops = wire.AppendOp(m.Ops, wire.OpBegin, []byte(key))
		}
	}
	w.mu.Unlock()
	w.send(to, m)
}

// post adds ops to our stream: drops are ops that can be merged, marks are begins or ends of updates. It returns their batch.
func (w *writer) post(drops, marks []byte, count int) (*batch, error) {
	if w.hasLeft() {
		return nil, net.ErrClosed
	}
	w.mu.Lock()
	b := w.queueLocked(drops, marks, count)
	w.mu.Unlock()
	w.pump()
	return b, nil
}

// queueLocked adds ops to the last pending batch, or to a new one.
func (w *writer) queueLocked(drops, marks []byte, count int) (b *batch) {
	if n := len(w.pending); n > 0 && (len(marks) == 0 || len(w.pending[n-1].marks)+len(marks) <= maxBatch) {
		b = w.pending[n-1]
	} else {
		b = newBatch()
		w.pending = append(w.pending, b)
	}
	b.drop(drops, count)
	b.marks = append(b.marks, marks...)
	return b
}

// pump sends the pending batches that are due.
func (w *writer) pump() { w.inTurn(w.pumpInTurn) }

func (w *writer) pumpInTurn() {
	for {
		b := w.next()
		if b == nil {
			return
		}
		w.changes.Add(uint64(b.ops))
		if !b.alone {
			w.sent.Add(1)
			w.broadcast(b.message(w.session))
		}
	}
}

// inTurn calls f while no other goroutine sends on our stream.
func (w *writer) inTurn(f func()) {
	w.sending.Lock()
	defer w.sending.Unlock()
	f()
}

// next numbers and returns the next batch, nil if none is due.
func (w *writer) next() *batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return nil
	}
	now := clock.Now()
	if n := len(w.flight); n > 0 {
		if left := w.flight[n-1].cutAt + int64(patience) - now; left > 0 {
			w.alarmLocked(time.Duration(left))
			return nil
		}
	}
	b := w.pending[0]
	w.pending = slices.Delete(w.pending, 0, 1)
	w.seq++
	b.cut(w.seq, now, w.leasedLocked(now))
	b.alone = len(w.readers) == 0 // a later member is synchronized after it
	w.markLocked(b)
	w.adopting -= b.adopted
	w.flight = append(w.flight, b)
	w.landLocked()
	return b
}

// markLocked records the open updates, for members that are synchronized from here on.
func (w *writer) markLocked(b *batch) {
	_ = wire.EachOp(b.marks, func(o wire.Op, key []byte) error { // we have encoded them
		if o == wire.OpBegin {
			w.open[string(key)]++
		} else if w.open[string(key)]--; w.open[string(key)] <= 0 {
			delete(w.open, string(key))
		}
		return nil
	})
}

func (w *writer) alarmLocked(after time.Duration) {
	switch {
	case w.hasLeft():
	case w.timer == nil:
		w.timer = time.AfterFunc(after, w.pump)
	default:
		w.timer.Reset(after)
	}
}

// landLocked removes the batches that are done.
func (w *writer) landLocked() { w.flight = slices.DeleteFunc(w.flight, (*batch).isDone) }

// peers returns the state of the members.
func (w *writer) peers() (peers []PeerStats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for m, r := range w.readers {
		peers = append(peers, PeerStats{Peer: m.info, Unconfirmed: w.seq - r.acked, Leased: r.leased > clock.Now()})
	}
	return peers
}

// close tells the others that this process sends nothing any more.
func (w *writer) close() {
	w.inTurn(func() { w.broadcast(wire.Message{Kind: wire.Bye, Session: w.session}) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}
