package bus

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSubscribeOnce(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	first := subscribe(t, b, "t", echo)
	_, err := b.Subscribe("t", echo)
	require.ErrorContains(t, err, `bus: subscribe "t": this node has subscribed it`)
	require.NoError(t, first.Close())
	require.NoError(t, first.Close())
	require.NoError(t, b.Flush(ctx))
	require.ErrorIs(t, a.Send(ctx, 2, "t", 1), ErrNoSubscriber)
	subscribe(t, b, "t", echo)
	_, err = a.Request(ctx, 2, "t", 1)
	require.NoError(t, err)
	_, err = b.Subscribe("", echo)
	require.Error(t, err)
}

func TestSubscriptionIsKnownToPeersThatComeLater(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, 1, Options{}), newNode(t, 2, Options{})
	closed, err := b.Subscribe("closed", echo)
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	_, err = b.Subscribe("t", echo)
	require.NoError(t, err)
	join(t, a, b)
	_, err = a.Request(limited(t), 2, "t", 1)
	require.NoError(t, err)
	require.ErrorIs(t, a.Send(limited(t), 2, "closed", 1), ErrNoSubscriber)
}

func TestSubscriptionCloseWaitsForItsCalls(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	reached := make(chan none, 10)
	var running atomic.Int32
	s := subscribe(t, b, "t", func(ctx context.Context, _ Message) (any, error) {
		running.Add(1)
		defer running.Add(-1)
		reached <- none{}
		<-ctx.Done()
		runtime.Gosched()
		return nil, ctx.Err()
	})
	failed := make(chan error)
	go func() {
		_, err := a.Request(ctx, 2, "t", 1)
		failed <- err
	}()
	next(t, reached)
	for range 5 {
		require.NoError(t, a.Send(ctx, 2, "t", 1))
	}
	go func() {
		_, err := a.Request(ctx, 2, "t", 1)
		failed <- err
	}()
	eventually(t, func() bool { return b.Stats().Total.Received == 7 }, "all have come")
	require.NoError(t, s.Close())
	assert.Zero(t, running.Load())
	require.Error(t, next(t, failed))
	require.Error(t, next(t, failed))
	assert.Empty(t, reached, "what came later is dropped")
	eventually(t, func() bool { return b.Stats().Total.Dropped == 6 }, "and counted")
}

// What is on its way to a subscription that is closed is answered or dropped, and harms nothing.
func TestSubscribeAndCloseWhileMessagesCome(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{Window: 2000})
	ctx, cancel := context.WithCancel(limited(t))
	var senders sync.WaitGroup
	var sent, answered atomic.Int64
	for range 4 {
		senders.Go(func() {
			for ctx.Err() == nil {
				if a.Send(ctx, 2, "t", make([]byte, 100)) == nil {
					sent.Add(1)
				}
				if _, err := a.Request(ctx, 2, "t", 1); err == nil {
					answered.Add(1)
				} else if ctx.Err() == nil {
					assert.ErrorIs(t, err, ErrNoSubscriber)
				}
				runtime.Gosched()
			}
		})
	}
	for i := 0; i < 100 || answered.Load() == 0; i++ {
		s := subscribe(t, b, "t", echo)
		if i%3 == 0 {
			_, _ = a.Request(ctx, 2, "t", i)
		}
		require.NoError(t, s.Close())
	}
	subscribe(t, b, "t", echo)
	_, err := a.Request(ctx, 2, "t", 1)
	require.NoError(t, err)
	cancel()
	senders.Wait()
	assert.Positive(t, sent.Load())
	eventually(t, func() bool { return a.Stats().Peers[0].Unhandled == 0 }, "all room is free again")
	assert.Equal(t, a.Stats().Total.Sent, b.Stats().Total.Received)
	assert.Empty(t, a.cuts)
	assert.Empty(t, b.cuts)
}

func TestSubscriberThatPanicsHarmsNobody(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	got := make(chan string, 100)
	subscribe(t, b, "bad", func(_ context.Context, m Message) (any, error) {
		got <- string(m.Data)
		if len(got)%3 == 1 {
			runtime.Goexit()
		}
		panic("oh")
	})
	other := collect(t, b, "good")
	for i := range 10 {
		require.NoError(t, a.Send(ctx, 2, "bad", i))
		require.NoError(t, a.Send(ctx, 2, "good", i))
	}
	for i := range 10 {
		assert.Equal(t, strconv.Itoa(i), next(t, other))
	}
	_, err := a.Request(ctx, 2, "bad", 10)
	require.Error(t, err)
	for i := range 11 {
		assert.Equal(t, strconv.Itoa(i), next(t, got), "in order, and one after the other")
	}
	assert.EqualValues(t, 11, b.Stats().Total.Panics)
	eventually(t, func() bool { return a.Stats().Peers[0].Unhandled == 0 }, "they are handled, too")
}

func TestHandlersUseTheBus(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	subscribe(t, a, "back", echo)
	subscribe(t, b, "t", func(ctx context.Context, m Message) (any, error) {
		answer, err := b.Request(ctx, m.From.ID, "back", m.Message)
		if err != nil {
			return nil, err
		}
		s, err := b.Subscribe("more", echo)
		if err != nil {
			return nil, err
		}
		return answer.Message, s.Close()
	})
	for range 100 {
		m, err := a.Request(ctx, 2, "t", []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "x", string(m.Data))
	}
}

func TestOnCloseComesBeforeThePeersKnow(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	subscribe(t, a, "t", echo)
	subscribe(t, b, "t", echo)
	require.NoError(t, b.Flush(ctx))
	calls := 0
	b.OnClose(func() {
		calls++
		_, err := a.Request(ctx, 2, "t", 1)
		require.NoError(t, err, "it answers")
		_, err = b.Request(ctx, 1, "t", 1)
		require.NoError(t, err, "it asks")
	})
	require.NoError(t, b.Close())
	assert.Equal(t, 1, calls)
	b.OnClose(func() { calls++ })
	assert.Equal(t, 2, calls, "at once after Close")
}

func TestClosedBusRefusesAll(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	s := subscribe(t, b, "t", echo)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	_, err := b.Subscribe("u", echo)
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, b.Send(ctx, 1, "t", 1), net.ErrClosed)
	require.ErrorIs(t, b.Broadcast(ctx, "t", 1), net.ErrClosed)
	_, err = b.Request(ctx, 1, "t", 1)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = b.RequestAll(ctx, "t", 1)
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, b.Flush(ctx), net.ErrClosed)
	require.NoError(t, s.Close())
	eventually(t, func() bool { return !a.hub.links.has(b.info) }, "a learns of it")
	require.ErrorIs(t, a.Send(ctx, 2, "t", 1), ErrNoPeer)
	assert.Empty(t, a.cuts, "to close is no reason to cut")
}
