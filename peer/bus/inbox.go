package bus

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

const (
	// creditShare is the part of the window that is handled before the peer is told, unless it is told because of time.
	creditShare = 4
	// recordHead is what stands before each message in an inbox: its length.
	recordHead = 4
	// maxSpare is the largest buffer, in bytes, that an inbox keeps when nothing has come for some time.
	maxSpare = 128 << 10
)

// inbox holds what has come from one peer for one subscription. One worker at a time hands it out, in order.
type inbox struct {
	link     *link
	sub      *Subscription
	requests context.Context //nolint:containedctx // of the handler of a request: it also ends with the link
	cancel   func()
	before   <-chan struct{} // closed when nothing is left from an earlier link of this peer. The worker's

	freed atomic.Int64 // bytes of which the peer has been told, or is told at once, that they are handled
	news  ledger       // published messages that were handled, and of which the peer has not been told
	dirty atomic.Bool  // the inbox is in link.acks

	toldMu sync.Mutex // held while the peer is told, so that it hears of the lower numbers first
	count  uint64     // guarded by toldMu; published messages of which the peer has been told that they are handled
	bytes  uint64     // guarded by toldMu; of these

	// The reader's:
	arrived  int64  // bytes that have come
	largest  int64  // of one message
	incoming []byte // records of this batch
	messages uint64 // how many these are

	// The worker's, and of him who holds mu while there is none:
	batch []byte // records that are handled
	done  int    // how much of batch is

	mu      sync.Mutex
	queue   []byte        // guarded by mu; records
	running bool          // guarded by mu; there is a worker
	trust   int           // guarded by mu; calls by which the handler still has to prove that it is quick, below 0
	ended   bool          // guarded by mu; nothing more comes
	drained chan struct{} // closed when nothing more comes and nothing is left
}

// take puts a message for a subscription into its inbox.
func (l *link) take(m message, data []byte) error {
	in := l.inboxFor(m.id)
	if in == nil {
		l.counts.received.Add(1)
		l.discard(m)
		return nil
	}
	// Messages may change places between the sender's ledger and its queue. Of those that are here, all but the last in the
	// ledger were in the window then, whichever that one is.
	in.largest = max(in.largest, int64(len(data)))
	if in.arrived+int64(len(data))-in.largest-in.freed.Load() >= int64(l.hub.opts.Window) {
		return violated("topic %q: more than the window of %d bytes", in.sub.topic, l.hub.opts.Window)
	}
	if len(in.incoming) == 0 {
		l.ready = append(l.ready, in)
	}
	in.arrived += int64(len(data))
	in.incoming = append(binary.BigEndian.AppendUint32(in.incoming, uint32(len(data))), data...)
	in.messages++
	return nil
}

// discard is for a message that has crossed with the end of its subscription.
func (l *link) discard(m message) {
	l.counts.dropped.Add(1)
	if m.kind == kindRequest {
		l.control(message{kind: kindFailure, number: m.number, reason: reasonNoSubscriber})
	}
}

// inboxFor returns the inbox of a subscription, nil if that is closed.
func (l *link) inboxFor(id uint64) *inbox {
	in := l.latest
	if in == nil || in.sub.number != id {
		if in = l.inboxes[id]; in == nil {
			in = l.openInbox(id)
		}
	}
	if in == nil || in.sub.closed.Load() {
		return nil
	}
	if l.latest != in {
		l.latest = in
	}
	return in
}

func (l *link) openInbox(id uint64) *inbox {
	s := l.hub.subscription(id)
	if s == nil {
		return nil
	}
	in := &inbox{link: l, sub: s, trust: -proof, drained: make(chan struct{})}
	in.requests, in.cancel = context.WithCancel(s.ctx)
	in.before = s.follow(l.peer.Incarnation, in)
	l.inboxes[id] = in
	return in
}

// deliver gives what a batch has brought to the workers. It may return an inbox instead, for the reader to handle.
func (l *link) deliver() (own *inbox) {
	single := len(l.ready) == 1 && l.ready[0].messages == 1 && l.hub.watch.ticker != nil
	for i, in := range l.ready {
		l.ready[i] = nil
		switch start, trusted := in.deliver(); {
		case start && trusted && single:
			own = in
		case start:
			l.start(in)
		}
	}
	l.ready = l.ready[:0]
	return own
}

// deliver puts what has come in the queue. It returns whether a worker has to be started, and if so, whether the handler
// is known to be quick.
func (in *inbox) deliver() (start, trusted bool) {
	in.link.counts.received.Add(in.messages)
	in.messages = 0
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queue = append(in.queue, in.incoming...)
	in.incoming = shrink(in.incoming)
	start = !in.running
	in.running = true
	return start, start && in.trust == 0 && in.before == nil
}

// next makes the queue what is to be handled. It returns false when there is nothing, and the caller is no longer the
// worker.
func (in *inbox) next() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.batch, in.queue, in.done = in.queue, in.batch[:0], 0
	if len(in.batch) > 0 {
		return true
	}
	in.running = false
	if in.ended {
		close(in.drained)
	}
	return false
}

// rest gives large buffers back if there is no worker.
func (in *inbox) rest() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.running {
		in.batch, in.queue = shrink(in.batch), shrink(in.queue)
	}
}

// end says that nothing more comes.
func (in *inbox) end() {
	in.cancel()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	if !in.running {
		close(in.drained)
	}
}

// shrink returns the memory of a buffer, if that is not too large to be kept.
func shrink(b []byte) []byte {
	if cap(b) > maxSpare {
		return nil
	}
	return b[:0]
}

// follow makes in the inbox for what comes from this process, and returns a channel that is closed when the one before
// it, from an earlier link, is empty. So the order is kept over a link that was cut.
func (s *Subscription) follow(from rendezvous.Incarnation, in *inbox) <-chan struct{} {
	s.inboxesMu.Lock()
	defer s.inboxesMu.Unlock()
	for incarnation, old := range s.inboxes { // also those of peers that are gone
		if incarnation != from && old.isDrained() {
			delete(s.inboxes, incarnation)
		}
	}
	var before <-chan struct{}
	if old := s.inboxes[from]; old != nil {
		before = old.drained
	}
	s.inboxes[from] = in
	return before
}

func (in *inbox) isDrained() bool {
	select {
	case <-in.drained:
		return true
	default:
		return false
	}
}
