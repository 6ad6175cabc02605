package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// delivery is one message on its way to one peer.
type delivery struct {
	remote *remoteSubscription
	call   *call // of a request or a flush
	full   error // the bound that it has met
	err    *PeerError
}

// remote returns the subscription of a topic by a peer.
func (h *hub) remote(to int, topic string) (*remoteSubscription, error) {
	l := h.links.to(to)
	if l != nil {
		if r := l.remotes.of(topic); r != nil && !h.isClosed() {
			return r, nil
		}
	}
	failed := &PeerError{Peer: peer.Info{ID: to}, Topic: topic, Err: ErrNoPeer}
	switch err := checkTopic(topic); {
	case h.isClosed():
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	case to == h.mesh.self:
		failed.Err = errSelf
	case l != nil:
		failed.Peer, failed.Err = l.peer, ErrNoSubscriber
	}
	return nil, failed
}

// deliveries returns a delivery for each peer that has subscribed the topic, by id.
func (h *hub) deliveries(topic string) ([]delivery, error) {
	if h.isClosed() {
		return nil, net.ErrClosed
	}
	links := h.links.sorted()
	deliveries := make([]delivery, 0, len(links))
	for _, l := range links {
		if r := l.remotes.of(topic); r != nil {
			deliveries = append(deliveries, delivery{remote: r})
		}
	}
	if len(deliveries) == 0 {
		return nil, checkTopic(topic)
	}
	return deliveries, nil
}

// deliver puts a message in the queue of its link. The call of a delivery with an error is over.
func (b *Bus) deliver(ctx context.Context, value framing.Message, d *delivery) error {
	err := d.push(ctx, framing.Bound{Fail: true}, value)
	if isFull(err) {
		d.full = err
		err = b.atBound(ctx, value, d)
	}
	if err != nil {
		d.fail(err)
		return d.err
	}
	return nil
}

// deliverAll is deliver for several peers. Peers at a bound come last. A delivery that fails keeps its error.
func (b *Bus) deliverAll(ctx context.Context, value framing.Message, deliveries []delivery) {
	full := 0
	for i := range deliveries {
		d := &deliveries[i]
		if err := d.push(ctx, framing.Bound{Fail: true}, value); isFull(err) {
			d.full = err
			full++
		} else if err != nil {
			d.fail(err)
		}
	}
	if full > 0 {
		b.deliverFull(ctx, value, deliveries, full > 1)
	}
}

// deliverFull is deliverAll for those deliveries that have met a bound. Each of several waits on its own, so that a peer that
// hangs does not keep the others until ctx is done.
func (b *Bus) deliverFull(ctx context.Context, value framing.Message, deliveries []delivery, several bool) {
	var waiting sync.WaitGroup
	for i := range deliveries {
		d := &deliveries[i]
		settle := func() {
			if err := b.atBound(ctx, value, d); err != nil {
				d.fail(err)
			}
		}
		switch {
		case d.full == nil:
		case several && b.full == Block:
			waiting.Go(settle) // ends with ctx, the link or the bus
		default:
			settle()
		}
	}
	waiting.Wait()
}

// atBound does what the caller has chosen, with a delivery that has met a bound.
func (b *Bus) atBound(ctx context.Context, value framing.Message, d *delivery) error {
	l := d.remote.link
	switch b.full {
	case Fail:
		l.counts.failed.Add(1)
		return d.remote.overfull(d.full)
	case Cut:
		l.counts.cut.Add(1)
		err := d.remote.overfull(d.full)
		l.hub.mesh.cut(l.peer, err.Error())
		return fmt.Errorf("%w; it was cut: %w", err, ErrPeerLeft)
	default:
		l.counts.blocked.Add(1)
		d.giveBack()
	}
	for {
		if err := d.remote.await(ctx); err != nil {
			return err
		}
		if err := d.push(ctx, framing.Bound{}, value); !isFull(err) {
			return err
		}
	}
}

func isFull(err error) bool {
	return err != nil && (err == errWindow || errors.Is(err, framing.ErrQueueFull)) //nolint:errorlint // ours, as it is
}

// push puts the message in the queue.
func (d *delivery) push(ctx context.Context, bound framing.Bound, value framing.Message) error {
	if d.call != nil && d.call.number == 0 {
		if err := d.remote.link.calls.add(d.call); err != nil {
			return err
		}
	}
	return d.remote.push(ctx, bound, value, d.call)
}

// flush asks the peer to say when it has received all that was sent before. If the link ends, so does the call.
func (d *delivery) flush() {
	if err := d.remote.link.calls.add(d.call); err != nil {
		d.fail(err)
		return
	}
	d.remote.link.control(message{kind: kindFlush, number: d.call.number})
}

// fail ends a delivery that was not sent.
func (d *delivery) fail(err error) {
	d.err = d.remote.failed(err)
	if d.call != nil {
		d.remote.link.calls.drop(d.call, err)
	}
}

// borrow is called before the request of a single call is pushed.
func (d *delivery) borrow() { d.call.reads = d.remote.link.lending.borrow() }

// giveBack ends what borrow has begun.
func (d *delivery) giveBack() {
	if d.call != nil && d.call.reads {
		d.call.reads = false
		d.remote.link.lending.giveBack()
	}
}

// answered reads for a single call, if its caller has borrowed the reading, and returns whether the call is over. If not,
// the channel of its group is closed at the end.
func (d *delivery) answered(ctx context.Context) bool {
	if d.call.reads {
		d.remote.link.readFor(ctx, d.call.group)
	}
	return d.call.group.isOver() || !d.remote.link.calls.watch(d.call.group)
}

// answer returns the answer to a call that is over.
func (d *delivery) answer() Answer {
	r := d.remote
	if d.call.err == nil {
		return Answer{Peer: r.link.peer, Message: r.message(d.call.answer)}
	}
	d.err = r.failed(d.call.err)
	return Answer{Peer: r.link.peer, Message: r.message(framing.Message{}), Err: d.err}
}
