package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	window int64
	gone   chan struct{} // closed when the peer has unsubscribed

	unhandled atomic.Int64  // bytes on their way, of requests until the answer
	sent      atomic.Uint64 // published messages that have their place in the queue
	handled   atomic.Uint64 // of these, handled for certain. The reader writes
	freed     uint64        // bytes of these. The reader's

	roomMu sync.Mutex
	room   chan struct{} // guarded by roomMu; closed when there is room again; nil when nobody waits for that
}

func newTarget(l *link, topic string, id uint64) *target {
	return &target{link: l, topic: topic, id: id, window: l.window, gone: make(chan struct{})}
}

// errWindow is the error of a message for which there is no room in the window.
var errWindow = errors.New("window full")

// push puts a message in the queue of the link, if there is room for it in the window. call is that of a request.
func (t *target) push(ctx context.Context, bound framing.Bound, value framing.Message, call *call) error {
	var buf [maxHead]byte
	m := message{kind: kindPublish, id: t.id, typ: value.Type}
	if call != nil {
		m.kind, m.number = kindRequest, call.number
	}
	head := m.appendHead(buf[:0])
	size := int64(len(head) + len(value.Data))
	if !t.reserve(size) {
		return errWindow
	}
	if call != nil {
		call.size = size
	}
	err := t.enqueue(ctx, bound, head, value.Data, call == nil)
	if err != nil {
		t.release(size)
	}
	return err
}

func (t *target) enqueue(ctx context.Context, bound framing.Bound, head, data []byte, published bool) error {
	l := t.link
	l.sending.RLock()
	defer l.sending.RUnlock()
	if err := l.conn.SendParts(ctx, bound, framing.Binary, head, data); err != nil {
		return err
	}
	l.counts.sent.Add(1)
	if published {
		t.sent.Add(1)
	}
	return nil
}

// reserve takes room in the window.
func (t *target) reserve(size int64) bool {
	for {
		unhandled := t.unhandled.Load()
		if unhandled >= t.window {
			return false
		}
		if t.unhandled.CompareAndSwap(unhandled, unhandled+size) {
			return true
		}
	}
}

// release gives room in the window back.
func (t *target) release(size int64) {
	unhandled := t.unhandled.Add(-size)
	t.roomMu.Lock()
	defer t.roomMu.Unlock()
	if t.room != nil && unhandled < t.window {
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
	if t.unhandled.Load() < t.window {
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
	size := int64(m.bytes - t.freed) //nolint:gosec // G115: checked with the next line
	if size < 0 || size > t.unhandled.Load() {
		return violated("credit for %d bytes of topic %q, of which %d are on their way", size, t.topic, t.unhandled.Load())
	}
	t.freed = m.bytes
	t.handled.Store(m.count)
	t.release(size)
	return nil
}

// unconfirmed returns how many published messages are not known to have been handled.
func (t *target) unconfirmed() int { return int(t.sent.Load() - t.handled.Load()) } //nolint:gosec // G115: far below

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
	return fmt.Errorf("%w: %d bytes of the topic are not handled there: send less, or choose to wait", ErrFull, t.unhandled.Load())
}
