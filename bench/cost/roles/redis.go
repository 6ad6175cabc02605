package roles

import (
	"context"
	"io"

	"github.com/redis/go-redis/v9"
)

// topicAnswers is the leader's.
const topicAnswers = "answers"

// dialRedis returns when the broker knows what is subscribed.
func dialRedis(ctx context.Context, p Player, topics ...string) (*redis.Client, *redis.PubSub, error) {
	c := redis.NewClient(&redis.Options{Addr: p.Broker})
	sub := c.Subscribe(ctx, topics...)
	for range topics {
		if _, err := sub.Receive(ctx); err != nil {
			return nil, nil, err
		}
	}
	return c, sub, nil
}

// followRedisCache is what one writes with Redis: each process has a cache of its own, and drops the key of each message.
func followRedisCache(p Player) (io.Closer, error) {
	ctx := context.Background()
	c, sub, err := dialRedis(ctx, p, topicAll, topicFill)
	if err != nil {
		return nil, err
	}
	entries := newOtterCache()
	go func() { // ends with the connection, or the process
		for {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			if answer, err := entries.answer(m.Channel, []byte(m.Payload)); err == nil {
				_ = c.Publish(ctx, topicAnswers, answer).Err() // it fails when the team ends
			}
		}
	}()
	return c, nil
}

func leadRedisCache(ctx context.Context, p Player) (leader, error) {
	c, sub, err := dialRedis(ctx, p, topicAnswers)
	if err != nil {
		return leader{}, err
	}
	return leader{c, leadOtter(func(topic string, question []byte, check func([]byte) error) error {
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
	})}, nil
}
