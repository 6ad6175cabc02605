package bus

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// errSelf is the error of a message from a node to itself.
var errSelf = errors.New("a node cannot send to itself: call the function")

// Send sends a value to a peer. It returns when the message is in the queue of the link; the value may be changed then. It
// waits at a bound, see [Bus.WhenFull], until ctx is done. The error is that of json.Marshal, or a *PeerError that Is
// [ErrNoPeer], [ErrNoSubscriber], [ErrPeerLeft], [ErrFull], [net.ErrClosed], [framing.ErrTooBig] or that of ctx.
func (b *Bus) Send(ctx context.Context, to int, topic string, v any) error {
	value, err := framing.MessageOf(v)
	if err == nil {
		var r *remoteSubscription
		if r, err = b.hub.remote(to, topic); err == nil {
			err = b.deliver(ctx, value, &delivery{remote: r})
		}
	}
	return callError("send", err)
}

// Broadcast sends a value, encoded once, to each peer that has subscribed the topic, to peers at a bound last. The error is
// a *PeersError, which names the peers that it has not reached.
func (b *Bus) Broadcast(ctx context.Context, topic string, v any) error {
	value, err := framing.MessageOf(v)
	if err == nil {
		var deliveries []delivery
		if deliveries, err = b.hub.deliveries(topic); err == nil {
			b.deliverAll(ctx, value, deliveries)
			err = peersError(deliveries)
		}
	}
	return callError("broadcast", err)
}

// Request sends a value to a peer and waits for the answer of its handler, until ctx is done. The error is one of Send, or
// a *RemoteError if the handler failed. Unless it Is ErrFull, ErrNoPeer or ErrNoSubscriber, the handler may have run.
func (b *Bus) Request(ctx context.Context, to int, topic string, v any) (Message, error) {
	value, err := framing.MessageOf(v)
	if err != nil {
		return Message{}, callError("request", err)
	}
	r, err := b.hub.remote(to, topic)
	if err != nil {
		return Message{}, callError("request", err)
	}
	c := newCall(r)
	deliveries := [1]delivery{{remote: r, call: c}}
	deliveries[0].borrow()
	_ = b.deliver(ctx, value, &deliveries[0]) // a call that was not sent has the error
	c.group.wait(ctx, deliveries[:])
	if c.err != nil {
		return Message{}, callError("request", r.failed(c.err))
	}
	return r.message(c.answer), nil
}

// Answer is the answer of one peer to RequestAll: a message, or an error.
type Answer struct {
	Peer peer.Info
	Message
	Err error
}

// RequestAll is Request to each peer that has subscribed the topic. It returns one answer or error for each, by id. Its
// error is nil if all have answered, else a *PeersError with the same errors.
func (b *Bus) RequestAll(ctx context.Context, topic string, v any) ([]Answer, error) {
	value, err := framing.MessageOf(v)
	if err != nil {
		return nil, callError("request", err)
	}
	deliveries, err := b.hub.deliveries(topic)
	if err != nil || len(deliveries) == 0 {
		return nil, callError("request", err)
	}
	group, calls := new(group), make([]call, len(deliveries))
	group.init(len(deliveries))
	for i := range deliveries {
		calls[i] = call{remote: deliveries[i].remote, group: group}
		deliveries[i].call = &calls[i]
	}
	if group.single {
		deliveries[0].borrow()
	}
	b.deliverAll(ctx, value, deliveries) // a call that was not sent has the error
	group.wait(ctx, deliveries)
	answers := make([]Answer, len(deliveries))
	for i := range deliveries {
		answers[i] = deliveries[i].answer()
	}
	return answers, callError("request", peersError(deliveries))
}

// Flush waits until all peers have received, not handled, what was sent before, subscriptions included, or ctx is done. The
// error is a *PeersError; of a peer that leaves meanwhile it Is ErrPeerLeft.
func (b *Bus) Flush(ctx context.Context) error {
	links := b.hub.links.sorted()
	if b.hub.isClosed() {
		return callError("flush", net.ErrClosed)
	}
	if len(links) == 0 {
		return nil
	}
	group := new(group)
	group.init(len(links))
	deliveries := make([]delivery, len(links))
	for i, l := range links {
		deliveries[i] = delivery{remote: &remoteSubscription{link: l}, call: &call{group: group}}
		deliveries[i].flush()
	}
	group.wait(ctx, deliveries)
	for i := range deliveries {
		_ = deliveries[i].answer()
	}
	return callError("flush", peersError(deliveries))
}

func callError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bus: %s: %w", op, err)
}
