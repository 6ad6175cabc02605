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

// parcel is one message on its way to one peer.
type parcel struct {
	target *target
	call   *call // of a request or a flush
	full   error // the bound that it has met
	err    *PeerError
}

// target returns where a message to a peer goes to.
func (h *hub) target(to int, topic string) (*target, error) {
	l := h.linked.Load().byID[to]
	if l != nil {
		if t := (*l.targets.Load())[topic]; t != nil && !h.isClosed() {
			return t, nil
		}
	}
	failed := &PeerError{Peer: peer.Info{ID: to}, Topic: topic, Err: ErrNoPeer}
	switch err := checkTopic(topic); {
	case h.isClosed():
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	case to == h.self:
		failed.Err = errSelf
	case l != nil:
		failed.Peer, failed.Err = l.peer, ErrNoSubscriber
	}
	return nil, failed
}

// parcels returns a parcel for each peer that has subscribed the topic, by id.
func (h *hub) parcels(topic string) ([]parcel, error) {
	if h.isClosed() {
		return nil, net.ErrClosed
	}
	links := h.linked.Load().sorted
	parcels := make([]parcel, 0, len(links))
	for _, l := range links {
		if t := (*l.targets.Load())[topic]; t != nil {
			parcels = append(parcels, parcel{target: t})
		}
	}
	if len(parcels) == 0 {
		return nil, checkTopic(topic)
	}
	return parcels, nil
}

// deliver puts a message in the queue of its target. The call of a parcel with an error is over.
func (b *Bus) deliver(ctx context.Context, value framing.Message, p *parcel) error {
	err := p.push(ctx, framing.Bound{Fail: true}, value)
	if isFull(err) {
		p.full = err
		err = b.atBound(ctx, value, p)
	}
	if err != nil {
		p.fail(err)
		return p.err
	}
	return nil
}

// deliverAll is deliver for several targets, at first for those that take the message at once. Those that fail keep
// their errors.
func (b *Bus) deliverAll(ctx context.Context, value framing.Message, parcels []parcel) {
	full := 0
	for i := range parcels {
		p := &parcels[i]
		if err := p.push(ctx, framing.Bound{Fail: true}, value); isFull(err) {
			p.full = err
			full++
		} else if err != nil {
			p.fail(err)
		}
	}
	if full > 0 {
		b.deliverFull(ctx, value, parcels, full > 1)
	}
}

// deliverFull is deliverAll for those parcels that have met a bound. Each of several waits on its own, lest one whose peer
// hangs keeps the others until ctx is done.
func (b *Bus) deliverFull(ctx context.Context, value framing.Message, parcels []parcel, several bool) {
	var waiting sync.WaitGroup
	for i := range parcels {
		p := &parcels[i]
		settle := func() {
			if err := b.atBound(ctx, value, p); err != nil {
				p.fail(err)
			}
		}
		switch {
		case p.full == nil:
		case several && b.full == Block:
			waiting.Go(settle) // ends with ctx, the link or the bus
		default:
			settle()
		}
	}
	waiting.Wait()
}

// atBound does what the caller has chosen, with a parcel that has met a bound.
func (b *Bus) atBound(ctx context.Context, value framing.Message, p *parcel) error {
	l := p.target.link
	switch b.full {
	case Fail:
		l.counts.failed.Add(1)
		return p.target.overfull(p.full)
	case Cut:
		l.counts.cut.Add(1)
		err := p.target.overfull(p.full)
		l.hub.cut(l.peer, err.Error())
		return fmt.Errorf("%w; it was cut: %w", err, ErrPeerLeft)
	default:
		l.counts.blocked.Add(1)
	}
	for {
		if err := p.target.await(ctx); err != nil {
			return err
		}
		if err := p.push(ctx, framing.Bound{}, value); !isFull(err) {
			return err
		}
	}
}

func isFull(err error) bool { return err == errWindow || errors.Is(err, framing.ErrQueueFull) } //nolint:errorlint // ours, as it is

// push puts the message in the queue.
func (p *parcel) push(ctx context.Context, bound framing.Bound, value framing.Message) error {
	if p.call != nil && p.call.number == 0 {
		if err := p.target.link.calls.add(p.call); err != nil {
			return err
		}
	}
	return p.target.push(ctx, bound, value, p.call)
}

// flush asks the peer to say when it has received all that was sent before. If the link ends, so does the call.
func (p *parcel) flush() {
	if err := p.target.link.calls.add(p.call); err != nil {
		p.fail(err)
		return
	}
	p.target.link.control(message{kind: kindFlush, number: p.call.number})
}

// fail ends a parcel that was not sent.
func (p *parcel) fail(err error) {
	p.err = p.target.failed(err)
	if p.call != nil {
		p.target.link.calls.drop(p.call, err)
	}
}

// answer returns the answer to a call that is over.
func (p *parcel) answer() Answer {
	t := p.target
	if p.call.err == nil {
		return Answer{Peer: t.link.peer, Message: t.message(p.call.answer)}
	}
	p.err = t.failed(p.call.err)
	return Answer{Peer: t.link.peer, Message: t.message(framing.Message{}), Err: p.err}
}
