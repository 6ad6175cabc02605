package roles

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// MessageSize is the size of all that is sent and answered, in bytes.
const MessageSize = 64

// What the first byte of a message asks for.
const (
	forAnswer = 'a' // the same bytes
	forCount  = 'c' // nothing
	forTotal  = 't' // how many were counted since the last time
)

func message(purpose byte) []byte {
	m := make([]byte, MessageSize)
	m[0] = purpose
	return m
}

// Topics of the bus and of the brokers. Sockets have none: what a message is for is in it.
const (
	topicAll   = "all"   // all peers answer a message
	topicOne   = "one"   // the first peer does
	topicFlood = "flood" // nobody does
)

// topics are those of a peer.
func (p Player) topics() []string {
	if p.ID == 1 {
		return []string{topicAll, topicFlood, topicOne}
	}
	return []string{topicAll, topicFlood}
}

// first returns the peers of a topic.
func first[T any](topic string, all []T) []T {
	if topic == topicOne {
		return all[:1]
	}
	return all
}

// answerFunc returns what a peer answers; nil is nothing. The messages on a topic come one after the other.
type answerFunc func(topic string, message []byte) ([]byte, error)

// counter is what a peer has counted.
type counter uint64

func (c *counter) answer(_ string, question []byte) ([]byte, error) {
	switch question[0] {
	case forAnswer:
		return question, nil
	case forCount:
		*c++
	case forTotal:
		total := message(forTotal)
		binary.BigEndian.PutUint64(total[1:], uint64(*c))
		*c = 0
		return total, nil
	}
	return nil, nil
}

// wholeAnswer checks that as many bytes have come back as in the baseline.
func wholeAnswer(answer []byte) error {
	if len(answer) != MessageSize {
		return fmt.Errorf("an answer of %d bytes, want %d", len(answer), MessageSize)
	}
	return nil
}

// askFunc sends a question to the peers of a topic, and has the answer of each checked.
type askFunc func(topic string, question []byte, check func(answer []byte) error) error

type (
	// serveFunc has a peer answer the leader's messages until the process ends.
	serveFunc func(context.Context, Player, answerFunc) error
	// dialFunc connects a leader to its peers.
	dialFunc func(context.Context, Player) (peers, error)
)

// exchanging is a system whose peers send messages back, or count them.
func exchanging(serve serveFunc, dial dialFunc) func(context.Context, Player) (actor, error) {
	return func(ctx context.Context, p Player) (actor, error) {
		if p.ID > 0 {
			return actor{}, serve(ctx, p, new(counter).answer)
		}
		to, err := dial(ctx, p)
		return actor{can: to.exchanges()}, err
	}
}

// peers is how a leader reaches its peers.
type peers struct {
	ask  askFunc
	send func(message []byte) error // to the first peer, which does not answer. It may be called at the same time; nil: not measured
}

// exchanges are what is measured of messages.
func (p peers) exchanges() actions {
	question := message(forAnswer)
	exchange := func(topic string) func(Order) (Result, error) {
		return func(o Order) (Result, error) {
			return o.repeat(func() error { return p.ask(topic, question, wholeAnswer) })
		}
	}
	return actions{RoundTrips: exchange(topicOne), FanOuts: exchange(topicAll), OneWay: p.pour}
}

// pour sends as fast as it goes, and counts what has arrived. The time ends when the last has.
func (p peers) pour(o Order) (r Result, err error) {
	warm, err := p.pourFor(o.Warm, o.Senders)
	if err != nil {
		return r, err
	}
	r, err = p.pourFor(o.Duration, o.Senders)
	r.Uncounted = warm.Requests
	return r, err
}

func (p peers) pourFor(d time.Duration, senders int) (r Result, err error) {
	var sent atomic.Int64
	var sending errgroup.Group
	begin := time.Now()
	for range senders {
		sending.Go(func() error {
			n, err := p.sendUntil(begin.Add(d))
			sent.Add(n)
			return err
		})
	}
	if err := sending.Wait(); err != nil {
		return r, err
	}
	err = p.ask(topicOne, message(forTotal), func(answer []byte) error {
		r.Requests, r.Elapsed = int64(binary.BigEndian.Uint64(answer[1:])), time.Since(begin)
		if r.Requests != sent.Load() {
			return fmt.Errorf("%d of %d messages have arrived", r.Requests, sent.Load())
		}
		return wholeAnswer(answer)
	})
	return r, err
}

// sendUntil looks at the clock only after so many messages, since that takes as long as some of them. It sends them at
// least once, however late it comes.
func (p peers) sendUntil(end time.Time) (sent int64, err error) {
	const messages = 256
	one := message(forCount)
	for {
		for range messages {
			if err := p.send(one); err != nil {
				return sent, err
			}
			sent++
		}
		if !time.Now().Before(end) {
			return sent, nil
		}
	}
}
