package roles

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
)

// serveNATS keeps for a peer what it has not taken yet, however much that is.
func serveNATS(_ context.Context, p Player, answer answerFunc) error {
	c, err := nats.Connect(p.Server)
	if err != nil {
		return err
	}
	for _, topic := range p.topics() {
		sub, failed := c.Subscribe(topic, func(m *nats.Msg) {
			if reply, err := answer(topic, m.Data); err == nil && reply != nil {
				_ = m.Respond(reply) // it fails when the team ends
			}
		})
		err = errors.Join(err, failed, sub.SetPendingLimits(-1, -1))
	}
	return errors.Join(err, c.Flush()) // the broker knows of it now
}

// dialNATS has a leader that asks all peers with one message, and receives an answer from each, as programs with NATS do.
func dialNATS(ctx context.Context, p Player) (peers, error) {
	c, err := nats.Connect(p.Server)
	if err != nil {
		return peers{}, err
	}
	inbox, answers := c.NewInbox(), make(chan *nats.Msg, 2*p.Peers)
	_, err = c.ChanSubscribe(inbox, answers)
	return peers{
		ask: func(topic string, question []byte, check func([]byte) error) error {
			if topic == topicOne {
				m, err := c.RequestWithContext(ctx, topic, question)
				if err != nil {
					return err
				}
				return check(m.Data)
			}
			if err := c.PublishRequest(topic, inbox, question); err != nil {
				return err
			}
			for range p.Peers {
				select {
				case m := <-answers:
					if err := check(m.Data); err != nil {
						return err
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		},
		send: func(message []byte) error { return c.Publish(topicOne, message) },
	}, err
}

// topicAnswers is the leader's.
const topicAnswers = "answers"

// subscribeRedis returns when the broker knows what is subscribed.
func subscribeRedis(ctx context.Context, p Player, topics ...string) (c *redis.Client, sub *redis.PubSub, err error) {
	c = redis.NewClient(&redis.Options{Addr: p.Server})
	sub = c.Subscribe(ctx, topics...)
	for range topics {
		if _, err = sub.Receive(ctx); err != nil {
			return nil, nil, err
		}
	}
	return c, sub, nil
}

func serveRedis(ctx context.Context, p Player, answer answerFunc) error {
	c, sub, err := subscribeRedis(ctx, p, p.topics()...)
	if err != nil {
		return err
	}
	go func() { // ends with the process
		for {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			if reply, err := answer(m.Channel, []byte(m.Payload)); err == nil {
				_ = c.Publish(ctx, topicAnswers, reply).Err() // it fails when the team ends
			}
		}
	}()
	return nil
}

func dialRedis(ctx context.Context, p Player) (peers, error) {
	c, sub, err := subscribeRedis(ctx, p, topicAnswers)
	return peers{ask: func(topic string, question []byte, check func([]byte) error) error {
		if err := c.Publish(ctx, topic, question).Err(); err != nil {
			return err
		}
		for range p.Peers {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				return err
			}
			if err := check([]byte(m.Payload)); err != nil {
				return err
			}
		}
		return nil
	}}, err
}
