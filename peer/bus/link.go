package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// The bounds of the queue of a link, in bytes, by class. The higher ones leave room for what the peer waits for when
// messages have filled theirs.
const (
	boundMessages = 1 << 20 // what users send: at the bound it does what they have chosen
	boundAnswers  = 2 << 20 // answers wait. At most one for each of the peer's topics does
	boundControl  = 4 << 20 // the bus's own: a peer that lets so much pile up is cut
)

// maxSubscriptions is how many topics a peer may subscribe.
const maxSubscriptions = 1 << 16

// link is the link to a peer: a stream, and all that is on its way in both directions.
//
// One goroutine reads. It puts what comes into inboxes, and waits for nothing else: when it calls a handler that does not
// come back, another goroutine goes on.
type link struct {
	hub    *hub
	peer   peer.Info
	conn   *framing.Conn
	number int  // grows from link to link
	isUp   bool // guarded by hub.mu

	targets atomic.Pointer[map[string]*target] // what the peer has subscribed; replaced by the reader, never changed
	calls   calls
	counts  counts

	retiredMu sync.Mutex
	retired   []*target // guarded by retiredMu; the peer has unsubscribed, but somebody may still be sending

	turn atomic.Uint64 // odd while the reader calls a handler; changes with each such call
	seen uint64        // guarded by hub.mu; turn, when the watch has looked last

	work chan *inbox  // to a worker that is idle; closed by the reader at its end
	idle atomic.Int32 // workers that wait on work
	acks acks

	// The reader's:
	window  uint64 // of what we send, 0 before the peer's hello
	byID    map[uint64]*target
	inboxes map[uint64]*inbox
	latest  *inbox   // of inboxes, the last one used
	ready   []*inbox // have got something in this batch
	known   bool     // the peer has sent its subscriptions
	agreed  bool     // the peer has confirmed ours
}

// newLink returns a link over conn, which it owns.
func newLink(h *hub, conn net.Conn, who peer.Info) *link {
	l := &link{
		hub:     h,
		peer:    who,
		conn:    framing.New(socketOf(conn), framing.Options{MaxQueue: boundMessages, CloseTimeout: h.opts.CloseTimeout}),
		work:    make(chan *inbox),
		byID:    make(map[uint64]*target),
		inboxes: make(map[uint64]*inbox),
	}
	l.targets.Store(&map[string]*target{})
	return l
}

// greet starts the link: it is up when both sides have sent all their subscriptions and confirmed the other's.
func (l *link) greet(subscriptions []*Subscription) {
	l.control(message{kind: kindHello, id: version, bytes: uint64(l.hub.opts.Window)})
	for _, s := range subscriptions {
		l.control(s.announcement())
	}
	l.control(message{kind: kindFlush})
}

// control sends a message of the bus's own. It never waits.
func (l *link) control(m message) {
	var head [maxHead]byte
	bound := framing.Bound{Queue: boundControl, Fail: true}
	err := l.conn.SendParts(context.Background(), bound, framing.Binary, m.appendHead(head[:0]), m.data)
	if errors.Is(err, framing.ErrQueueFull) {
		l.hub.cut(l.peer, fmt.Sprintf("it does not read: %d bytes wait", l.conn.Queued()))
	}
}

// read handles what comes until the link ends, or another goroutine does.
func (l *link) read() {
	for {
		err := l.conn.ReceiveBatch(context.Background(), l.dispatch)
		in := l.deliver()
		if err != nil {
			if in != nil {
				l.start(in)
			}
			l.end(err)
			return
		}
		if in != nil && !l.callInline(in) {
			l.worker(l.idleUntilWork())
			return
		}
	}
}

// violation is the error for what a peer may not send.
type violation struct{ text string }

func (v *violation) Error() string { return "the peer breaks the protocol of the bus: " + v.text }

func violated(format string, args ...any) error { return &violation{fmt.Sprintf(format, args...)} }

// dispatch takes one message.
func (l *link) dispatch(frame framing.Message) error {
	if id, _, _, ok := published(frame.Data); ok && frame.Type == framing.Binary && l.window != 0 {
		return l.take(message{kind: kindPublish, id: id}, frame.Data)
	}
	m, err := parse(frame.Data)
	switch {
	case err != nil:
		return violated("%v", err)
	case frame.Type != framing.Binary:
		return violated("%v message", frame.Type)
	case l.window == 0 && m.kind != kindHello:
		return violated("message of kind %d before the hello", m.kind)
	}
	switch m.kind {
	case kindPublish, kindRequest:
		return l.take(m, frame.Data)
	case kindAnswer, kindFailure:
		return l.answered(m)
	case kindCredit:
		return l.credited(m)
	case kindSubscribe:
		return l.subscribed(m)
	case kindUnsubscribe:
		return l.unsubscribed(m)
	case kindHello:
		return l.met(m)
	case kindFlush:
		l.flush(m)
	case kindFlushed:
		return l.flushed(m)
	}
	return nil // a kind of a later version
}

func (l *link) met(m message) error {
	if l.window != 0 || m.id == 0 || m.bytes == 0 {
		return violated("hello of version %d with a window of %d bytes, or a second one", m.id, m.bytes)
	}
	l.window = min(m.bytes, uint64(l.hub.opts.Window))
	return nil
}

// flush answers a flush: all that was sent before it has come. The one with number 0 ends the peer's greeting.
func (l *link) flush(m message) {
	l.acknowledge()
	l.control(message{kind: kindFlushed, number: m.number})
	if m.number == 0 && !l.known {
		l.known = true
		l.risen()
	}
}

func (l *link) flushed(m message) error {
	if m.number != 0 {
		return l.answered(m)
	}
	if l.agreed {
		return violated("second answer to the greeting")
	}
	l.agreed = true
	l.risen()
	return nil
}

func (l *link) risen() {
	if l.known && l.agreed {
		l.hub.up(l)
	}
}

// subscribed makes it possible to send to a subscription of the peer.
func (l *link) subscribed(m message) error {
	topic := string(m.data)
	old := *l.targets.Load()
	if old[topic] != nil || l.byID[m.id] != nil || len(old) >= maxSubscriptions {
		return violated("topic %q, or number %d, is subscribed, or %d others are", topic, m.id, maxSubscriptions)
	}
	t := newTarget(l, topic, m.id)
	l.byID[m.id] = t
	l.retarget(func(targets map[string]*target) { targets[topic] = t })
	return nil
}

// unsubscribed takes back what subscribed has done. What is on its way by now comes to nobody.
func (l *link) unsubscribed(m message) error {
	t := l.byID[m.id]
	if t == nil {
		return violated("end of subscription %d, which there is not", m.id)
	}
	delete(l.byID, m.id)
	l.retarget(func(targets map[string]*target) { delete(targets, t.topic) })
	t.retire()
	l.retire(t)
	return nil
}

// retire keeps what a target has counted.
func (l *link) retire(t *target) {
	l.retiredMu.Lock()
	defer l.retiredMu.Unlock()
	l.retired = slices.DeleteFunc(append(l.retired, t), func(t *target) bool {
		settled := t.isSettled()
		if settled {
			l.counts.sent.Add(t.sent.Load())
		}
		return settled
	})
}

func (l *link) retarget(change func(map[string]*target)) {
	targets := maps.Clone(*l.targets.Load())
	change(targets)
	l.targets.Store(&targets)
}

// credited takes the peer's word that it has handled messages. Two of them may have changed places on the way.
func (l *link) credited(m message) error {
	t := l.byID[m.id]
	if t == nil {
		return nil // sent before it has unsubscribed
	}
	return t.credit(m)
}

// answered ends the wait for the answer to a request or a flush.
func (l *link) answered(m message) error {
	if !l.calls.answer(m) {
		return violated("answer to %d, which was not asked", m.number)
	}
	return nil
}
