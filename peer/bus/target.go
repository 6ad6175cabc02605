package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/framing"
)

// target is a subscription of a peer, seen from this node: where messages of a topic go to. It counts what is on its way
// to there, as HTTP/2 does for each stream, so that a slow subscriber neither fills the link nor loses anything.
type target struct {
	link   *link
	topic  string
	id     uint64
	window uint64
	texts  []byte        // the head of a published text
	bytes  []byte        // the head of published bytes
	gone   chan struct{} // closed when the peer has unsubscribed

	ledger  ledger
	sent    atomic.Uint64 // messages that have their place in the queue
	asked   atomic.Uint64 // of these, requests
	handled atomic.Uint64 // of those sent, published messages that were handled for certain. The reader writes
	freed   uint64        // bytes of these. The reader's

	roomMu sync.Mutex
	room   chan struct{} // guarded by roomMu; closed when there is room again; nil when nobody waits for that
}

func newTarget(l *link, topic string, id uint64) *target {
	text := message{kind: kindPublish, id: id, typ: framing.Text}
	bytes := message{kind: kindPublish, id: id, typ: framing.Binary}
	return &target{
		link:   l,
		topic:  topic,
		id:     id,
		window: l.window,
		texts:  text.appendHead(nil),
		bytes:  bytes.appendHead(nil),
		gone:   make(chan struct{}),
	}
}

// errWindow is the error of a message for which there is no room in the window.
var errWindow = errors.New("window full")

// push puts a message in the queue of the link, if there is room for it in the window. call is that of a request.
func (t *target) push(ctx context.Context, bound framing.Bound, value framing.Message, call *call) error {
	if call != nil {
		return t.pushRequest(ctx, bound, value, call)
	}
	head := t.bytes
	if value.Type == framing.Text {
		head = t.texts
	}
	return t.enqueue(ctx, bound, head, value.Data)
}

func (t *target) pushRequest(ctx context.Context, bound framing.Bound, value framing.Message, call *call) error {
	var buf [maxHead]byte
	m := message{kind: kindRequest, id: t.id, number: call.number, typ: value.Type}
	head := m.appendHead(buf[:0])
	call.size = uint64(len(head) + len(value.Data))
	err := t.enqueue(ctx, bound, head, value.Data)
	if err == nil {
		t.asked.Add(1)
	}
	return err
}

func (t *target) enqueue(ctx context.Context, bound framing.Bound, head, data []byte) error {
	size := uint64(len(head) + len(data))
	if !t.ledger.begin(size, t.window) {
		return t.full()
	}
	if err := t.link.conn.SendParts(ctx, bound, framing.Binary, head, data); err != nil {
		t.ledger.cancel(size)
		t.wake()
		return err
	}
	t.sent.Add(1)
	return nil
}

// full returns why there is no room.
func (t *target) full() error {
	select {
	case <-t.gone:
		return ErrNoSubscriber
	default:
		return errWindow
	}
}

// retire refuses all messages from now on.
func (t *target) retire() {
	close(t.gone)
	t.ledger.close()
}

// isSettled reports whether nobody is sending any more. It means something after retire or the end of the link.
func (t *target) isSettled() bool {
	_, begun := t.ledger.load()
	return begun == t.sent.Load()%ledgerMessages
}

// unhandled returns how many bytes are on their way.
func (t *target) unhandled() uint64 {
	bytes, _ := t.ledger.load()
	return bytes
}

// release gives room in the window back.
func (t *target) release(size uint64) {
	t.ledger.free(size)
	t.wake()
}

// wake wakes those who wait for room, if there is some.
func (t *target) wake() {
	t.roomMu.Lock()
	defer t.roomMu.Unlock()
	if t.room != nil && t.unhandled() < t.window {
		close(t.room)
		t.room = nil
	}
}

// await waits until there may be room in the window.
func (t *target) await(ctx context.Context) error {
	t.roomMu.Lock()
	if t.room == nil {
		t.room = make(chan struct{})
	}
	room := t.room
	t.roomMu.Unlock()
	if t.unhandled() < t.window {
		return nil // it came in between
	}
	select {
	case <-room:
		return nil
	case <-t.gone:
		return ErrNoSubscriber
	case <-t.link.conn.Done():
		return t.link.cause()
	case <-t.link.hub.closing:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// credit takes over what the peer has handled. The reader calls it.
func (t *target) credit(m message) error {
	if m.bytes < t.freed || m.count < t.handled.Load() {
		return nil // a later one was faster
	}
	size := m.bytes - t.freed
	if unhandled := t.unhandled(); size > unhandled {
		return violated("credit for %d bytes of topic %q, of which %d are on their way", size, t.topic, unhandled)
	}
	t.freed = m.bytes
	t.handled.Store(m.count)
	t.release(size)
	return nil
}

// settle waits until those who were sending when the link ended have their error, or have counted.
func (t *target) settle() {
	for !t.isSettled() {
		runtime.Gosched() // none of them waits for anything any more
	}
}

// unconfirmed returns how many published messages are not known to have been handled.
func (t *target) unconfirmed() int { return int(t.sent.Load() - t.asked.Load() - t.handled.Load()) }

// failed gives an error its form for the user.
func (t *target) failed(err error) *PeerError {
	_, isRemote := errors.AsType[*RemoteError](err)
	switch {
	case isRemote, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, ErrFull), errors.Is(err, ErrNoSubscriber), errors.Is(err, ErrPeerLeft), errors.Is(err, framing.ErrTooBig):
	default:
		err = t.link.cause()
	}
	return &PeerError{Peer: t.link.peer, Topic: t.topic, Err: err}
}

// message returns an answer as it is given to the one who has asked.
func (t *target) message(answer framing.Message) Message {
	return Message{From: t.link.peer, Topic: t.topic, Message: answer}
}

// overfull returns the error for a message that met a bound.
func (t *target) overfull(err error) error {
	if errors.Is(err, framing.ErrQueueFull) {
		return fmt.Errorf("%w: %d bytes wait in the queue of the link: send less, or choose to wait", ErrFull, t.link.conn.Queued())
	}
	return fmt.Errorf("%w: %d bytes of the topic are not handled there: send less, or choose to wait", ErrFull, t.unhandled())
}
