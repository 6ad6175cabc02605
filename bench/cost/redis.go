package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
)

// redisProgram is what Debian's package of this name has.
const redisProgram = "redis-server"

const redisMissing = "Redis is left out: apt-get install " + redisProgram + "\n\n"

func hasRedis() bool {
	_, err := exec.LookPath(redisProgram)
	return err == nil
}

// channelAnswers is what the leader has subscribed. The other channels are named as the subjects of NATS.
const channelAnswers = "answers"

// startRedis starts the server as it is without a file to keep, and returns its address.
func (t *team) startRedis() (addr string, err error) {
	if addr, err = freeAddress(); err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if err := t.startBroker(redisProgram, "--bind", host, "--port", port, "--save", "", "--dir", t.dir, "--loglevel", "warning"); err != nil {
		return "", err
	}
	return addr, awaitListener(addr)
}

// freeAddress returns an address that nobody has at this moment.
func freeAddress() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func awaitListener(addr string) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// redisCache is what one writes with Redis: each process has a cache of its own, and drops the key of each message.
type redisCache struct {
	*redis.Client
	sub     *redis.PubSub
	entries *otter.Cache[string, int64]
	running sync.WaitGroup
}

// newRedisCache returns when the broker knows what is subscribed.
func newRedisCache(ctx context.Context, p player, channels ...string) (*redisCache, error) {
	c := &redisCache{Client: redis.NewClient(&redis.Options{Addr: p.Broker}), entries: newOtter()}
	c.sub = c.Subscribe(ctx, channels...)
	for range channels {
		if _, err := c.sub.Receive(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func (c *redisCache) Close() error {
	err := errors.Join(c.sub.Close(), c.Client.Close())
	c.running.Wait()
	c.entries.StopAllGoroutines()
	return err
}

func followRedisCache(p player) (io.Closer, error) {
	ctx := context.Background()
	c, err := newRedisCache(ctx, p, subjectAll, subjectFill)
	if err != nil {
		return nil, err
	}
	c.running.Go(func() { // ended by Close
		for {
			m, err := c.sub.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			_ = c.Publish(ctx, channelAnswers, c.answer(m)).Err() // it fails when the team ends
		}
	})
	return c, nil
}

func (c *redisCache) answer(m *redis.Message) any {
	if m.Channel == subjectAll {
		c.entries.Invalidate(m.Payload)
		return m.Payload
	}
	answer, err := onFill([]byte(m.Payload), func(keys int) (int, error) { return fillOtter(c.entries, keys), nil })
	if err != nil {
		return err.Error()
	}
	return answer
}

// redisCacheLeader drops the key of its own cache, too.
type redisCacheLeader struct {
	*redisCache
	ctx   context.Context // of the process
	peers int
	keys  keyring
}

var _ preparer = (*redisCacheLeader)(nil)

func leadRedisCache(ctx context.Context, p player) (leader, error) {
	c, err := newRedisCache(ctx, p, channelAnswers)
	if err != nil {
		return nil, err
	}
	return &redisCacheLeader{redisCache: c, ctx: ctx, peers: p.Peers}, nil
}

func (l *redisCacheLeader) fanOut() error {
	key, err := l.keys.next()
	if err != nil {
		return err
	}
	l.entries.Invalidate(key)
	return l.askAll(subjectAll, key, func(answer string) error {
		if answer != key {
			return fmt.Errorf("an answer with the key %q, want %q", answer, key)
		}
		return nil
	})
}

// askAll has each peer's answer checked.
func (l *redisCacheLeader) askAll(channel, question string, check func(string) error) error {
	if err := l.Publish(l.ctx, channel, question).Err(); err != nil {
		return err
	}
	for range l.peers {
		m, err := l.sub.ReceiveMessage(l.ctx)
		if err != nil {
			return err
		}
		if err := check(m.Payload); err != nil {
			return err
		}
	}
	return nil
}

func (l *redisCacheLeader) prepare(keys int) (loss, error) {
	return l.keys.refill(l.entries, keys, func(question string, answered func(string) error) error {
		return l.askAll(subjectFill, question, answered)
	})
}
