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

// patience is how long what is to be sent waits for the confirmations of what was sent before, to go together with what
// comes meanwhile. When nothing is on its way, nothing waits.
const patience = time.Millisecond

// writer is this process as one that changes something, for Invalidate and Update: its stream, and who has to confirm what is in
// it.
//
// Locks: sending is held while messages of the stream are sent, so that they come in order, and mu is taken within it. The
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
	adopting int                 // guarded by mu; those that are gone, whose open updates are not in open yet
	timer    *time.Timer         // guarded by mu; sends what is pending; nil before its first use
}

// reader is what the writer knows of a member.
type reader struct {
	leased int64  // when the lease that it has from us is over
	acked  uint64 // up to where it has applied our changes
}

// add is for a member that is new.
func (w *writer) add(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readers[m] = new(reader)
}

// drop is for a member that serves nothing any more: nobody waits for it. No process that comes is granted a lease before what
// the member has left open is in our stream, see adopt.
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

// adopt takes over the open updates of a process that is gone: it begins them in our stream, for those that come and have not
// heard of them. It returns false if there is nothing to end.
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

// grant lets a member serve for a time what it has stored, if it has applied our changes up to now. To one that is not in step it
// tells where our stream is.
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

// isToldLocked reports whether a process that comes hears of all updates that are open: each of our members is one that it has
// found alive, and asks, or what that had begun is in our stream by now.
func (w *writer) isToldLocked(comes *member, found []byte) bool {
	if len(found) == 0 { // it has been there: it hears of the end of each of them itself
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

// sync tells a process where our stream is, and which updates are open. The caller has its turn.
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

// post takes ops into our stream: drops are ops that can be taken together, marks begins or ends of updates. It returns the
// batch that they are in.
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

// queueLocked puts ops into the batch that is sent next, or begins another one.
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

// pump sends what is pending, if its time has come.
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

// inTurn calls f, in its turn, with what sends on our stream.
func (w *writer) inTurn(f func()) {
	w.sending.Lock()
	defer w.sending.Unlock()
	f()
}

// next gives the next batch its number, if there is one whose time has come.
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
	b.alone = len(w.readers) == 0 // whoever comes later takes our stream up after it
	w.markLocked(b)
	w.adopting -= b.adopted
	w.flight = append(w.flight, b)
	w.landLocked()
	return b
}

// markLocked keeps which updates are open, for those who take the stream up from here on.
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

// landLocked forgets the batches that are done.
func (w *writer) landLocked() { w.flight = slices.DeleteFunc(w.flight, (*batch).isDone) }

// peers tells of the members.
func (w *writer) peers() (peers []PeerStats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for m, r := range w.readers {
		peers = append(peers, PeerStats{Peer: m.info, Unconfirmed: w.seq - r.acked, Leased: r.leased > clock.Now()})
	}
	return peers
}

// close tells the others that nothing comes any more.
func (w *writer) close() {
	w.inTurn(func() { w.broadcast(wire.Message{Kind: wire.Bye, Session: w.session}) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}
