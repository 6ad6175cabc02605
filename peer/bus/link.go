package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// The bounds of the queue of a link, in bytes, by class. When messages have filled their part, there is still room for
// what the peer waits for.
const (
	boundMessages = 1 << 20 // what users send: at the bound it does what they have chosen
	boundAnswers  = 2 << 20 // answers wait. At most one for each of the peer's topics does
	boundControl  = 4 << 20 // the bus's own messages: a peer at this bound is cut
)

// maxSubscriptions is how many topics a peer may subscribe.
const maxSubscriptions = 1 << 16

// link is the link to a peer: a stream, what is sent on it (remotes, calls), and what comes from it (inboxes, workers,
// acks).
//
// One goroutine reads. It puts what comes into inboxes, and waits for nothing else: when it calls a handler that does not
// return, another goroutine continues.
type link struct {
	hub    *hub
	peer   peer.Info
	conn   *framing.Conn
	number int  // grows from link to link
	isUp   bool // guarded by hub.links.mu

	remotes remoteSubscriptions
	calls   calls
	counts  counts

	turn atomic.Uint64 // odd while the reader calls a handler; changes with each such call
	seen uint64        // turn, when the watch has looked last. The watch's

	lending lending
	workers workers
	acks    acks

	// The reader's, away from the fields that senders read:
	greeting greeting
	inboxes  inboxes
}

// newLink returns a link over conn, which it owns.
func newLink(h *hub, conn net.Conn, who peer.Info) *link {
	l := &link{
		hub:     h,
		peer:    who,
		conn:    framing.New(conn, framing.Options{MaxQueue: boundMessages, CloseTimeout: h.opts.CloseTimeout}),
		lending: lending{watch: &h.watch, stream: conn},
		workers: workers{running: &h.running, work: make(chan *inbox)},
		acks:    acks{running: &h.running},
	}
	l.remotes.init()
	l.inboxes = inboxes{link: l, byNumber: make(map[uint64]*inbox)}
	return l
}

// greet starts the link: it is up when both sides have sent all their subscriptions and confirmed the other's.
func (l *link) greet(subscriptions map[string]*Subscription) {
	l.control(message{kind: kindHello, id: version, bytes: uint64(l.hub.opts.Window)})
	for _, s := range subscriptions {
		l.control(s.announcement())
	}
	l.control(message{kind: kindFlush})
}

// control sends a message of the bus itself. It never waits.
func (l *link) control(m message) {
	var head [maxHead]byte
	bound := framing.Bound{Queue: boundControl, Fail: true}
	err := l.conn.SendParts(context.Background(), bound, framing.Binary, m.appendHead(head[:0]), m.data)
	if errors.Is(err, framing.ErrQueueFull) {
		l.hub.mesh.cut(l.peer, fmt.Sprintf("it does not read: %d bytes wait", l.conn.Queued()))
	}
}

// read handles what comes until the link ends, or another goroutine does.
func (l *link) read() {
	for {
		err := l.lending.failed
		if err == nil {
			err = l.conn.ReceiveBatch(context.Background(), l.dispatch)
		}
		in := l.inboxes.deliver()
		if errors.Is(err, framing.ErrInterrupted) {
			err = nil
		}
		if err != nil {
			if in != nil {
				l.workers.start(in)
			}
			l.end(err)
			return
		}
		if in != nil && !l.callInline(in) {
			l.workers.run(l.workers.next())
			return
		}
		if l.lending.isDue() {
			l.lending.lend()
		}
	}
}

// violation is the error for a message that breaks the protocol.
type violation struct{ text string }

func (v *violation) Error() string { return "the peer breaks the protocol of the bus: " + v.text }

func violated(format string, args ...any) error { return &violation{fmt.Sprintf(format, args...)} }

// dispatch takes one message.
func (l *link) dispatch(frame framing.Message) error {
	if id, _, _, ok := published(frame.Data); ok && frame.Type == framing.Binary && l.greeting.window != 0 {
		return l.inboxes.take(message{kind: kindPublish, id: id}, frame.Data)
	}
	m, err := parse(frame.Data)
	switch {
	case err != nil:
		return violated("%v", err)
	case frame.Type != framing.Binary:
		return violated("%v message", frame.Type)
	case l.greeting.window == 0 && m.kind != kindHello:
		return violated("message of kind %d before the hello", m.kind)
	}
	switch m.kind {
	case kindPublish, kindRequest:
		return l.inboxes.take(m, frame.Data)
	case kindAnswer, kindFailure:
		return l.answered(m)
	case kindCredit:
		return l.remotes.credit(m)
	case kindSubscribe:
		return l.remotes.add(l, m)
	case kindUnsubscribe:
		return l.remotes.remove(m)
	case kindHello:
		return l.greeting.hello(m, l.hub.opts.Window)
	case kindFlush:
		l.flush(m)
	case kindFlushed:
		return l.flushed(m)
	}
	return nil // a kind of a later version
}

// greeting is how far both sides are with their first messages. Each says hello, sends its subscriptions, and confirms
// those of the other.
type greeting struct {
	window    uint64 // of what we send, 0 before the peer's hello
	received  bool   // the peer has sent its subscriptions
	confirmed bool   // the peer has confirmed ours
}

// hello agrees on a window with the peer. ours is that of this node.
func (g *greeting) hello(m message, ours int) error {
	if g.window != 0 || m.id == 0 || m.bytes == 0 {
		return violated("hello of version %d with a window of %d bytes, or a second one", m.id, m.bytes)
	}
	g.window = min(m.bytes, uint64(ours))
	return nil
}

// rise makes the link one to send on when the greeting is over.
func (l *link) rise() {
	if l.greeting.received && l.greeting.confirmed {
		l.hub.links.set(l, true)
	}
}

// flush answers a flush: all messages before it have arrived. The flush with number 0 ends the peer's greeting.
func (l *link) flush(m message) {
	l.acks.tell()
	l.control(message{kind: kindFlushed, number: m.number})
	if m.number == 0 && !l.greeting.received {
		l.greeting.received = true
		l.rise()
	}
}

func (l *link) flushed(m message) error {
	if m.number != 0 {
		return l.answered(m)
	}
	if l.greeting.confirmed {
		return violated("second answer to the greeting")
	}
	l.greeting.confirmed = true
	l.rise()
	return nil
}

// answered ends the wait for the answer to a request or a flush.
func (l *link) answered(m message) error {
	ok, alone := l.calls.answer(m)
	if !ok {
		return violated("answer to %d, which was not asked", m.number)
	}
	l.lending.note(alone)
	return nil
}
