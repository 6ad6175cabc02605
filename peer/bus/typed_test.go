package bus

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/peer"
)

func TestTypedValues(t *testing.T) {
	t.Parallel()
	center, others := star(t, 3, Options{})
	ctx := limited(t)
	for i, n := range others {
		_, err := OnRequest(n.Bus, "move", func(_ context.Context, from peer.Info, p point) (point, error) {
			if i == 2 {
				return p, errors.New("cannot")
			}
			return point{p.X + i, from.ID}, nil
		})
		require.NoError(t, err)
		require.NoError(t, n.Flush(ctx))
	}
	p, err := Ask[point](ctx, center.Bus, 2, "move", point{1, 1})
	require.NoError(t, err)
	assert.Equal(t, point{2, 0}, p)
	_, err = Ask[point](ctx, center.Bus, 3, "move", point{})
	require.ErrorContains(t, err, "the handler there: cannot")
	_, err = Ask[int](ctx, center.Bus, 2, "move", point{})
	require.ErrorContains(t, err, `bus: request: topic "move" to node 2: `)

	replies, err := AskAll[point](ctx, center.Bus, "move", point{5, 5})
	require.Error(t, err)
	require.Len(t, replies, 3)
	assert.Equal(t, Reply[point]{Peer: others[0].info, Value: point{5, 0}}, replies[0])
	assert.Equal(t, Reply[point]{Peer: others[1].info, Value: point{6, 0}}, replies[1])
	require.Error(t, replies[2].Err)

	strings, err := AskAll[string](ctx, center.Bus, "move", point{5, 5})
	peers, ok := errors.AsType[*PeersError](err)
	require.True(t, ok)
	assert.Len(t, peers.Errors, 3, "an answer of another type is an error")
	assert.Error(t, strings[0].Err)
}

func TestTypedMessages(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	bytes, points := make(chan []byte, 1), make(chan point, 1)
	_, err := On(b.Bus, "bytes", func(_ context.Context, _ peer.Info, v []byte) error { bytes <- v; return nil })
	require.NoError(t, err)
	_, err = On(b.Bus, "points", func(_ context.Context, _ peer.Info, v point) error { points <- v; return nil })
	require.NoError(t, err)
	require.NoError(t, b.Flush(ctx))
	require.NoError(t, a.Send(ctx, 2, "points", "not a point"))
	require.NoError(t, a.Send(ctx, 2, "points", point{1, 2}))
	require.NoError(t, a.Send(ctx, 2, "bytes", []byte("abc")))
	assert.Equal(t, point{1, 2}, next(t, points))
	assert.Equal(t, []byte("abc"), next(t, bytes))
	assert.EqualValues(t, 1, b.Stats().Total.Errors)
}
