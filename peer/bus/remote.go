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

// remoteSubscription is the subscription of a topic by a peer. It counts what is on its way there, as HTTP/2 does for each
// stream, so that a slow subscriber neither fills the link nor loses a message.
type remoteSubscription struct {
	link   *link
	topic  string
	id     uint64
	window uint64
	texts  []byte    // the head of a published text
	bytes  []byte    // the head of published bytes
	gone   chan none // closed when the peer has unsubscribed

	ledger  ledger
	sent    atomic.Uint64 // messages that have their place in the queue
	asked   atomic.Uint64 // of these, requests
	handled atomic.Uint64 // of those sent, published messages that were handled for certain. The reader writes
	freed   uint64        // bytes of these. The reader's

	roomMu sync.Mutex
	room   chan none // guarded by roomMu; closed when there is room again; nil when no sender waits
}

func newRemoteSubscription(l *link, topic string, id uint64) *remoteSubscription {
	text := message{kind: kindPublish, id: id, typ: framing.Text}
	bytes := message{kind: kindPublish, id: id, typ: framing.Binary}
	return &remoteSubscription{
		link:   l,
		topic:  topic,
		id:     id,
		window: l.greeting.window,
		texts:  text.appendHead(nil),
		bytes:  bytes.appendHead(nil),
		gone:   make(chan none),
	}
}

// errWindow is the error of a message for which there is no room in the window.
var errWindow = errors.New("window full")

// push puts a message in the queue of the link, if there is room for it in the window. call is that of a request.
func (r *remoteSubscription) push(ctx context.Context, bound framing.Bound, value framing.Message, call *call) error {
	if call != nil {
		return r.pushRequest(ctx, bound, value, call)
	}
	head := r.bytes
	if value.Type == framing.Text {
		head = r.texts
	}
	return r.enqueue(ctx, bound, head, value.Data)
}

func (r *remoteSubscription) pushRequest(ctx context.Context, bound framing.Bound, value framing.Message, call *call) error {
	var buf [maxHead]byte
	m := message{kind: kindRequest, id: r.id, number: call.number, typ: value.Type}
	head := m.appendHead(buf[:0])
	call.size = uint64(len(head) + len(value.Data))
	err := r.enqueue(ctx, bound, head, value.Data)
	if err == nil {
		r.asked.Add(1)
	}
	return err
}

func (r *remoteSubscription) enqueue(ctx context.Context, bound framing.Bound, head, data []byte) error {
	size := uint64(len(head) + len(data))
	if !r.ledger.begin(size, r.window) {
		return r.full()
	}
	if err := r.link.conn.SendParts(ctx, bound, framing.Binary, head, data); err != nil {
		r.ledger.cancel(size)
		r.wake()
		return err
	}
	r.sent.Add(1)
	return nil
}

// full returns why there is no room.
func (r *remoteSubscription) full() error {
	select {
	case <-r.gone:
		return ErrNoSubscriber
	default:
		return errWindow
	}
}

// close refuses all messages from now on.
func (r *remoteSubscription) close() {
	close(r.gone)
	r.ledger.close()
}

// isSettled reports whether no goroutine is sending, after close or the end of the link.
func (r *remoteSubscription) isSettled() bool {
	_, begun := r.ledger.load()
	return begun == r.sent.Load()%ledgerMessages
}

// unhandled returns how many bytes are on their way.
func (r *remoteSubscription) unhandled() uint64 {
	bytes, _ := r.ledger.load()
	return bytes
}

// release frees room in the window.
func (r *remoteSubscription) release(size uint64) {
	r.ledger.free(size)
	r.wake()
}

// wake wakes the senders that wait for room, if there is room.
func (r *remoteSubscription) wake() {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	if r.room != nil && r.unhandled() < r.window {
		close(r.room)
		r.room = nil
	}
}

// await waits until there may be room in the window.
func (r *remoteSubscription) await(ctx context.Context) error {
	r.roomMu.Lock()
	if r.room == nil {
		r.room = make(chan none)
	}
	room := r.room
	r.roomMu.Unlock()
	if r.unhandled() < r.window {
		return nil // it came in between
	}
	select {
	case <-room:
		return nil
	case <-r.gone:
		return ErrNoSubscriber
	case <-r.link.conn.Done():
		return r.link.cause()
	case <-r.link.hub.closing:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// credit notes what the peer has handled. The reader calls it.
func (r *remoteSubscription) credit(m message) error {
	if m.bytes < r.freed || m.count < r.handled.Load() {
		return nil // a later one was faster
	}
	size := m.bytes - r.freed
	if unhandled := r.unhandled(); size > unhandled {
		return violated("credit for %d bytes of topic %q, of which %d are on their way", size, r.topic, unhandled)
	}
	r.freed = m.bytes
	r.handled.Store(m.count)
	r.release(size)
	return nil
}

// settle waits until each send that was in flight when the link ended has failed, or is counted.
func (r *remoteSubscription) settle() {
	for !r.isSettled() {
		runtime.Gosched() // none of them blocks
	}
}

// unconfirmed returns how many published messages are not known to have been handled.
func (r *remoteSubscription) unconfirmed() int {
	return int(r.sent.Load() - r.asked.Load() - r.handled.Load())
}

// failed returns an error in the form for the user.
func (r *remoteSubscription) failed(err error) *PeerError {
	_, isRemote := errors.AsType[*RemoteError](err)
	switch {
	case isRemote, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, ErrFull), errors.Is(err, ErrNoSubscriber), errors.Is(err, ErrPeerLeft), errors.Is(err, framing.ErrTooBig):
	default:
		err = r.link.cause()
	}
	return &PeerError{Peer: r.link.peer, Topic: r.topic, Err: err}
}

// message returns an answer in the form for the requester.
func (r *remoteSubscription) message(answer framing.Message) Message {
	return Message{From: r.link.peer, Topic: r.topic, Message: answer}
}

// overfull returns the error for a message that met a bound.
func (r *remoteSubscription) overfull(err error) error {
	if errors.Is(err, framing.ErrQueueFull) {
		return fmt.Errorf("%w: %d bytes wait in the queue of the link: send less, or choose to wait", ErrFull, r.link.conn.Queued())
	}
	return fmt.Errorf("%w: %d bytes of the topic are not handled there: send less, or choose to wait", ErrFull, r.unhandled())
}
