package bus

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnswersAreValues(t *testing.T) {
	t.Parallel()
	center, others := star(t, 3, Options{})
	ctx := limited(t)
	for i, n := range others {
		_, err := n.Subscribe("move", func(_ context.Context, m Message) (any, error) {
			var p point
			if err := m.Decode(&p); err != nil {
				return nil, err
			}
			if i == 2 {
				return nil, errors.New("cannot")
			}
			return point{p.X + i, m.From.ID}, nil
		})
		require.NoError(t, err)
		require.NoError(t, n.Flush(ctx))
	}
	var p point
	m, err := center.Request(ctx, 2, "move", point{1, 1})
	require.NoError(t, err)
	require.NoError(t, m.Decode(&p))
	assert.Equal(t, point{2, 0}, p)
	_, err = center.Request(ctx, 3, "move", point{})
	require.ErrorContains(t, err, "the handler there: cannot")
	require.Error(t, m.Decode(new(int)), "an answer of another type is an error")

	answers, err := center.RequestAll(ctx, "move", point{5, 5})
	require.Error(t, err)
	require.Len(t, answers, 3)
	for i, want := range []point{{5, 0}, {6, 0}} {
		assert.Equal(t, others[i].info, answers[i].Peer)
		require.NoError(t, answers[i].Err)
		require.NoError(t, answers[i].Decode(&p))
		assert.Equal(t, want, p)
	}
	require.Error(t, answers[2].Err)
}

func TestMessagesAreValues(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	bytes, points := make(chan []byte, 1), make(chan point, 1)
	_, err := b.Subscribe("bytes", func(_ context.Context, m Message) (any, error) {
		var v []byte
		err := m.Decode(&v)
		bytes <- v
		return nil, err
	})
	require.NoError(t, err)
	_, err = b.Subscribe("points", func(_ context.Context, m Message) (any, error) {
		var v point
		err := m.Decode(&v)
		if err == nil {
			points <- v
		}
		return nil, err
	})
	require.NoError(t, err)
	require.NoError(t, b.Flush(ctx))
	require.NoError(t, a.Send(ctx, 2, "points", "not a point"))
	require.NoError(t, a.Send(ctx, 2, "points", point{1, 2}))
	require.NoError(t, a.Send(ctx, 2, "bytes", []byte("abc")))
	assert.Equal(t, point{1, 2}, next(t, points))
	assert.Equal(t, []byte("abc"), next(t, bytes))
	assert.EqualValues(t, 1, b.Stats().Total.Errors)
}
