package cost

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"

	"github.com/redis/go-redis/v9"
)

const (
	// redisProgram is what Debian's package of this name has.
	redisProgram = "redis-server"
	redisMissing = "Redis is left out: apt-get install " + redisProgram + "\n\n"
	// redisReady is in the line that says that it listens.
	redisReady = "Ready to accept connections"
	// topicAnswers is the leader's.
	topicAnswers = "answers"
)

func hasRedis() bool {
	_, err := exec.LookPath(redisProgram)
	return err == nil
}

// redisCommand is the server as it comes, without a file to keep, on a port that nobody has at this moment.
func redisCommand(dir string) (cmd *exec.Cmd, addr string, err error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	addr = l.Addr().String()
	host, port, err := net.SplitHostPort(addr)
	cmd = exec.CommandContext(context.Background(), redisProgram, "--bind", host, "--port", port, "--save", "", "--dir", dir)
	cmd.Stderr = os.Stderr
	return cmd, addr, errors.Join(err, l.Close())
}

// dialRedis returns when the broker knows what is subscribed.
func dialRedis(ctx context.Context, p player, topics ...string) (*redis.Client, *redis.PubSub, error) {
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
func followRedisCache(p player) (io.Closer, error) {
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

func leadRedisCache(ctx context.Context, p player) (leader, error) {
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
