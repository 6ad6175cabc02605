package bus

import (
	"context"
	"errors"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// On subscribes a topic with a function that takes values, as [Bus.Subscribe] does. A []byte is taken from a message of
// bytes, any other T from JSON.
func On[T any](b *Bus, topic string, f func(ctx context.Context, from peer.Info, v T) error) (*Subscription, error) {
	return b.Subscribe(topic, func(ctx context.Context, m Message) (any, error) {
		v, err := decode[T](m)
		if err != nil {
			return nil, err
		}
		return nil, f(ctx, m.From, v)
	})
}

// OnRequest subscribes a topic with a function that takes values and answers with values.
func OnRequest[Q, A any](b *Bus, topic string, f func(ctx context.Context, from peer.Info, question Q) (A, error)) (*Subscription, error) {
	return b.Subscribe(topic, func(ctx context.Context, m Message) (any, error) {
		q, err := decode[Q](m)
		if err != nil {
			return nil, err
		}
		return f(ctx, m.From, q)
	})
}

// Ask sends a request, as [Bus.Request] does, and returns the value of the answer. An empty answer is the zero value.
func Ask[A any](ctx context.Context, b *Bus, to int, topic string, v any) (A, error) {
	m, err := b.Request(ctx, to, topic, v)
	if err != nil {
		var none A
		return none, err
	}
	answer, err := decode[A](m)
	if err != nil {
		err = callError("request", &PeerError{Peer: m.From, Topic: topic, Err: err})
	}
	return answer, err
}

// Reply is what one peer has answered to AskAll: a value, or an error.
type Reply[A any] struct {
	Peer  peer.Info
	Value A
	Err   error
}

// AskAll sends a request to all subscribers, as [Bus.RequestAll] does, and returns the value or the error of each, by
// id. The error is nil if there is none among them.
func AskAll[A any](ctx context.Context, b *Bus, topic string, v any) ([]Reply[A], error) {
	answers, err := b.RequestAll(ctx, topic, v)
	replies := make([]Reply[A], len(answers))
	var failed []*PeerError
	for i, a := range answers {
		replies[i].Peer, replies[i].Err = a.Peer, a.Err
		if a.Err == nil {
			var err error
			if replies[i].Value, err = decode[A](a.Message); err != nil {
				replies[i].Err = &PeerError{Peer: a.Peer, Topic: topic, Err: err}
			}
		}
		if one, ok := errors.AsType[*PeerError](replies[i].Err); ok {
			failed = append(failed, one)
		}
	}
	if len(failed) > 0 {
		err = callError("request", &PeersError{Errors: failed})
	}
	return replies, err
}

// decode returns the value of a message.
func decode[T any](m Message) (v T, err error) {
	if m.Type == framing.Binary && len(m.Data) == 0 {
		return v, nil
	}
	err = m.Decode(&v)
	return v, err
}
