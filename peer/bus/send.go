package bus

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// errSelf is what a message is for that a node sends to itself.
var errSelf = errors.New("a node cannot send to itself: call the function")

// Send sends a value to a peer. It returns nil when the message has its place in the queue of the link, and the value
// may be changed then. It waits where the bus is to wait at a bound, until ctx is done.
//
// The error is a *PeerError that Is [ErrNoPeer], [ErrNoSubscriber], [ErrPeerLeft], [ErrFull], [net.ErrClosed],
// [framing.ErrTooBig] or that of ctx; or that of json.Marshal.
func (b *Bus) Send(ctx context.Context, to int, topic string, v any) error {
	value, err := framing.MessageOf(v)
	if err == nil {
		var t *target
		if t, err = b.hub.target(to, topic); err == nil {
			err = b.deliver(ctx, value, &parcel{target: t})
		}
	}
	return callError("send", err)
}

// Broadcast sends a value to each peer that has subscribed the topic, as Send does. It is encoded once. If some cannot
// get it, the others have got it, and the error is a *PeersError, which names those that have not. A peer at a bound is
// waited for after the others have been served.
func (b *Bus) Broadcast(ctx context.Context, topic string, v any) error {
	value, err := framing.MessageOf(v)
	if err == nil {
		var parcels []parcel
		if parcels, err = b.hub.parcels(topic); err == nil {
			b.deliverAll(ctx, value, parcels)
			err = peersError(parcels)
		}
	}
	return callError("broadcast", err)
}

// Request sends a value to a peer and waits for the answer of its handler, until ctx is done. The error may be any of
// Send's, and a *RemoteError if the handler has failed. With an error, but those of a bound or a missing peer or
// subscriber, the handler may have run.
func (b *Bus) Request(ctx context.Context, to int, topic string, v any) (Message, error) {
	value, err := framing.MessageOf(v)
	if err != nil {
		return Message{}, callError("request", err)
	}
	t, err := b.hub.target(to, topic)
	if err != nil {
		return Message{}, callError("request", err)
	}
	c := &call{target: t, group: newGroup(1)}
	parcels := [1]parcel{{target: t, call: c}}
	_ = b.deliver(ctx, value, &parcels[0]) // a call that was not sent has the error
	c.group.wait(ctx, parcels[:])
	if c.err != nil {
		return Message{}, callError("request", t.failed(c.err))
	}
	return t.message(c.answer), nil
}

// Answer is what one peer has answered to RequestAll: a message, or an error.
type Answer struct {
	Peer peer.Info
	Message
	Err error
}

// RequestAll sends a value to each peer that has subscribed the topic, and waits for all answers, until ctx is done. It
// returns one answer or error for each, by id. The error is nil if all have answered, else a *PeersError with the same
// errors.
func (b *Bus) RequestAll(ctx context.Context, topic string, v any) ([]Answer, error) {
	value, err := framing.MessageOf(v)
	if err != nil {
		return nil, callError("request", err)
	}
	parcels, err := b.hub.parcels(topic)
	if err != nil || len(parcels) == 0 {
		return nil, callError("request", err)
	}
	group, calls := newGroup(len(parcels)), make([]call, len(parcels))
	for i := range parcels {
		calls[i] = call{target: parcels[i].target, group: group}
		parcels[i].call = &calls[i]
	}
	b.deliverAll(ctx, value, parcels) // a call that was not sent has the error
	group.wait(ctx, parcels)
	answers := make([]Answer, len(parcels))
	for i := range parcels {
		answers[i] = parcels[i].answer()
	}
	return answers, callError("request", peersError(parcels))
}

// Flush waits until all peers have received what was sent before, subscriptions included, or ctx is done. Received does
// not mean handled. The error is a *PeersError. A peer that leaves meanwhile is an error that Is ErrPeerLeft.
func (b *Bus) Flush(ctx context.Context) error {
	links := b.hub.linked.Load().sorted
	if b.hub.isClosed() {
		return callError("flush", net.ErrClosed)
	}
	if len(links) == 0 {
		return nil
	}
	group := newGroup(len(links))
	parcels := make([]parcel, len(links))
	for i, l := range links {
		parcels[i] = parcel{target: &target{link: l}, call: &call{group: group}}
		parcels[i].flush()
	}
	group.wait(ctx, parcels)
	for i := range parcels {
		_ = parcels[i].answer()
	}
	return callError("flush", peersError(parcels))
}

func callError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bus: %s: %w", op, err)
}
