package bus

import (
	"context"
	"encoding/binary"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// inbox holds the messages of one peer for one subscription. One worker at a time handles them, in order.
type inbox struct {
	link     *link
	sub      *Subscription
	requests context.Context //nolint:containedctx // of the handler of a request: it also ends with the link
	cancel   func()
	before   <-chan none // closed when nothing is left from an earlier link of this peer. The worker's
	credit   credit
	arrivals arrivals // the reader's
	queue    queue
}

// arrivals are the messages of a batch that the reader has not put in the queue yet.
type arrivals struct {
	total    int64  // bytes that have arrived until now
	largest  int64  // bytes of the largest message
	records  []byte // of this batch
	messages uint64 // in records
}

func (a *arrivals) add(data []byte) {
	a.total += int64(len(data))
	a.records = append(binary.BigEndian.AppendUint32(a.records, uint32(len(data))), data...)
	a.messages++
}

// deliver puts the arrivals in the queue. It returns whether a worker has to be started, and if so, whether the handler is
// known to be quick.
func (in *inbox) deliver() (start, trusted bool) {
	in.link.counts.received.Add(in.arrivals.messages)
	in.arrivals.records, start, trusted = in.queue.put(in.arrivals.records)
	in.arrivals.messages = 0
	return start, trusted && in.before == nil
}

// end is called when no more messages arrive.
func (in *inbox) end() {
	in.cancel()
	in.queue.end()
}

// follow makes in the inbox for messages from this process. It returns a channel that is closed when the inbox of an
// earlier link is empty, so that the order is kept over a link that was cut.
func (s *Subscription) follow(from rendezvous.Incarnation, in *inbox) <-chan none {
	s.inboxesMu.Lock()
	defer s.inboxesMu.Unlock()
	for incarnation, old := range s.inboxes { // also those of peers that are gone
		if incarnation != from && old.queue.isDrained() {
			delete(s.inboxes, incarnation)
		}
	}
	var before <-chan none
	if old := s.inboxes[from]; old != nil {
		before = old.queue.drained
	}
	s.inboxes[from] = in
	return before
}

// inboxes are the inboxes of a link. The reader's.
type inboxes struct {
	link     *link
	byNumber map[uint64]*inbox // by the number of the subscription
	latest   *inbox            // the last one used
	ready    []*inbox          // with arrivals in this batch
}

// take puts a message for a subscription into its inbox.
func (s *inboxes) take(m message, data []byte) error {
	in := s.of(m.id)
	if in == nil {
		s.link.counts.received.Add(1)
		s.link.discard(m)
		return nil
	}
	// Messages may change places between the sender's ledger and its queue. Of the messages here, only the last in the ledger
	// may have been beyond the window, and it may be any of them.
	a, size := &in.arrivals, int64(len(data))
	a.largest = max(a.largest, size)
	if a.total+size-a.largest-in.credit.freed.Load() >= int64(s.link.hub.opts.Window) {
		return violated("topic %q: more than the window of %d bytes", in.sub.topic, s.link.hub.opts.Window)
	}
	if a.messages == 0 {
		s.ready = append(s.ready, in)
	}
	a.add(data)
	return nil
}

// discard drops a message that has crossed with the end of its subscription.
func (l *link) discard(m message) {
	l.counts.dropped.Add(1)
	if m.kind == kindRequest {
		l.control(message{kind: kindFailure, number: m.number, reason: reasonNoSubscriber})
	}
}

// of returns the inbox of a subscription, nil if that is closed.
func (s *inboxes) of(id uint64) *inbox {
	in := s.latest
	if in == nil || in.sub.number != id {
		if in = s.byNumber[id]; in == nil {
			in = s.open(id)
		}
	}
	if in == nil || in.sub.closed.Load() {
		return nil
	}
	if s.latest != in {
		s.latest = in
	}
	return in
}

func (s *inboxes) open(id uint64) *inbox {
	sub := s.link.hub.subscription(id)
	if sub == nil {
		return nil
	}
	in := &inbox{link: s.link, sub: sub, queue: newQueue()}
	in.requests, in.cancel = context.WithCancel(sub.ctx)
	in.before = sub.follow(s.link.peer.Incarnation, in)
	s.byNumber[id] = in
	return in
}

// deliver gives the messages of a batch to the workers. It may return one inbox for the reader to handle instead.
func (s *inboxes) deliver() (own *inbox) {
	single := len(s.ready) == 1 && s.ready[0].arrivals.messages == 1 && s.link.hub.watch.ticker != nil
	if len(s.ready) > 0 {
		s.link.lending.note(false)
	}
	for i, in := range s.ready {
		s.ready[i] = nil
		switch start, trusted := in.deliver(); {
		case start && trusted && single:
			own = in
		case start:
			s.link.workers.start(in)
		}
	}
	s.ready = s.ready[:0]
	return own
}

// end is called when no more messages arrive.
func (s *inboxes) end() {
	for _, in := range s.byNumber {
		in.end()
	}
}
