package cost

import (
	"context"
	"errors"
	"io"

	"github.com/maypok86/otter/v2"
	"github.com/nats-io/nats.go"
)

// subjectFill asks the peers to have so many keys cached.
const subjectFill = "fill"

// natsCache is what one writes with NATS: each process has a cache of its own, and drops the key of each message.
type natsCache struct {
	*natsClient
	entries *otter.Cache[string, int64]
}

func newOtter() *otter.Cache[string, int64] {
	return otter.Must(&otter.Options[string, int64]{MaximumSize: maxEntries})
}

func followNATSCache(p player) (io.Closer, error) {
	client, err := dialNATS(p)
	if err != nil {
		return nil, err
	}
	c := &natsCache{client, newOtter()}
	_, dropped := c.Subscribe(subjectAll, func(m *nats.Msg) {
		c.entries.Invalidate(string(m.Data))
		_ = m.Respond(m.Data) // it fails when the team ends
	})
	_, filled := c.Subscribe(subjectFill, func(m *nats.Msg) {
		answer, err := onFill(m.Data, func(keys int) (int, error) { return fillOtter(c.entries, keys), nil })
		if err == nil {
			_ = m.Respond(answer)
		}
	})
	if err := errors.Join(dropped, filled, c.Flush()); err != nil { // the broker knows of it now
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *natsCache) Close() error {
	defer c.entries.StopAllGoroutines()
	return c.natsClient.Close()
}

// fillOtter has the first so many keys stored, and returns how many were not.
func fillOtter(entries *otter.Cache[string, int64], keys int) (loaded int) {
	for i := range keys {
		if _, stored := entries.SetIfAbsent(keyOf(i), int64(i)); stored {
			loaded++
		}
	}
	return loaded
}

// natsCacheLeader drops the key of its own cache, too.
type natsCacheLeader struct {
	*natsLeader
	entries *otter.Cache[string, int64]
	keys    keyring
}

func leadNATSCache(ctx context.Context, p player) (leader, error) {
	l, err := newNATSLeader(ctx, p)
	if err != nil {
		return nil, err
	}
	return &natsCacheLeader{natsLeader: l, entries: newOtter()}, nil
}

func (l *natsCacheLeader) fanOut() error {
	key, err := l.keys.next()
	if err != nil {
		return err
	}
	l.entries.Invalidate(key)
	return l.askAll(subjectAll, []byte(key), func(answer []byte) error {
		if string(answer) != key {
			return errors.New("an answer with another key")
		}
		return nil
	})
}

func (l *natsCacheLeader) prepare(keys int) (loss, error) {
	return l.keys.refill(l.entries, keys, func(question string, answered func(string) error) error {
		return l.askAll(subjectFill, []byte(question), func(answer []byte) error { return answered(string(answer)) })
	})
}

func (l *natsCacheLeader) Close() error {
	defer l.entries.StopAllGoroutines()
	return l.natsLeader.Close()
}
