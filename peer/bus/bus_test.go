package bus

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

type point struct{ X, Y int }

func TestRequestReturnsWhatTheHandlerReturns(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	subscribe(t, b, "echo", echo)
	tests := []struct {
		name string
		send any
		want framing.Message
	}{
		{"bytes", []byte{0, 0xff}, framing.Message{Type: framing.Binary, Data: []byte{0, 0xff}}},
		{"no bytes", []byte(nil), framing.Message{Type: framing.Binary, Data: []byte{}}},
		{"string", "grüß", framing.Message{Type: framing.Text, Data: []byte(`"grüß"`)}},
		{"struct", point{1, 2}, framing.Message{Type: framing.Text, Data: []byte(`{"X":1,"Y":2}`)}},
		{"nil", nil, framing.Message{Type: framing.Text, Data: []byte("null")}},
		{"JSON", json.RawMessage(`[ ]`), framing.Message{Type: framing.Text, Data: []byte("[ ]")}},
		{"large", make([]byte, 3<<20), framing.Message{Type: framing.Binary, Data: make([]byte, 3<<20)}},
	}
	for _, tt := range tests {
		m, err := a.Request(ctx, 2, "echo", tt.send)
		require.NoError(t, err, tt.name)
		assert.Equal(t, Message{From: b.info, Topic: "echo", Message: tt.want}, m, tt.name)
	}
}

func TestRequestWithEmptyAnswer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	subscribe(t, b, "t", func(context.Context, Message) (any, error) { return nil, nil }) //nolint:nilnil // an empty answer
	m, err := a.Request(limited(t), 2, "t", 1)
	require.NoError(t, err)
	assert.Empty(t, m.Data)
}

func TestRequestWhoseHandlerFails(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	handlers := map[string]Handler{
		"error":   func(context.Context, Message) (any, error) { return nil, errors.New("no such item") },
		"panic":   func(context.Context, Message) (any, error) { panic("oh") },
		"value":   func(context.Context, Message) (any, error) { return math.Inf(1), nil },
		"too big": func(context.Context, Message) (any, error) { return make([]byte, 17<<20), nil },
		"long":    func(context.Context, Message) (any, error) { return nil, errors.New(strings.Repeat("ü", maxText)) },
	}
	texts := map[string]string{
		"error": "no such item", "panic": "panic: oh", "value": "unsupported value", "too big": "too big", "long": "üüü",
	}
	for topic, h := range handlers {
		subscribe(t, b, topic, h)
		for range 2 { // the subscription goes on
			_, err := a.Request(ctx, 2, topic, 1)
			remote, ok := errors.AsType[*RemoteError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, b.info, remote.Peer)
			assert.Equal(t, topic, remote.Topic)
			assert.Contains(t, remote.Text, texts[topic])
			assert.LessOrEqual(t, len(remote.Text), maxText)
			require.ErrorContains(t, err, `bus: request: topic "`+topic+`" to node 2: `)
		}
	}
	assert.EqualValues(t, 2, b.Stats().Total.Panics)
}

func TestSendIsHandledInOrder(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{Window: 10_000}) // so that it is full at times
	ctx := limited(t)
	const topics, each = 4, 5000
	done := make(chan error, topics)
	for i := range topics {
		topic := string(rune('a' + i))
		want := 0
		subscribe(t, b, topic, func(_ context.Context, m Message) (any, error) {
			var got int
			if err := m.Decode(&got); err != nil || got != want {
				t.Errorf("%s: got %d, %v, want %d", topic, got, err, want)
			}
			want++
			return want, nil
		})
		go func() {
			for n := range each - 1 {
				if err := a.Send(ctx, 2, topic, n); err != nil {
					done <- err
					return
				}
			}
			m, err := a.Request(ctx, 2, topic, each-1) // behind the others
			if err == nil && string(m.Data) != "5000" {
				err = errors.New(string(m.Data))
			}
			done <- err
		}()
	}
	for range topics {
		assert.NoError(t, next(t, done))
	}
}

func TestSendFromManyToMany(t *testing.T) {
	t.Parallel()
	const nodes, senders, each = 4, 5, 300
	center, others := star(t, nodes, Options{Window: 5000})
	ctx := limited(t)
	type item struct{ Sender, N int }
	var got [nodes][senders]int
	for i, n := range others {
		_, err := n.Subscribe("t", func(_ context.Context, m Message) (any, error) {
			var v item
			if err := m.Decode(&v); err != nil || got[i][v.Sender] != v.N || m.From != center.info {
				t.Errorf("node %d: %v, want %d; %v", i, v, got[i][v.Sender], err)
			}
			got[i][v.Sender]++
			return nil, nil //nolint:nilnil // an empty answer
		})
		require.NoError(t, err)
		require.NoError(t, n.Flush(ctx))
	}
	sent := make(chan error, senders)
	for sender := range senders {
		go func() {
			for n := range each {
				if err := center.Broadcast(ctx, "t", item{sender, n}); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
	}
	for range senders {
		require.NoError(t, next(t, sent))
	}
	_, err := center.RequestAll(ctx, "t", item{0, each}) // behind all others
	require.NoError(t, err)
	for i := range others {
		for sender := 1; sender < senders; sender++ {
			assert.Equal(t, each, got[i][sender])
		}
	}
}

func TestBroadcastGoesOnlyToSubscribers(t *testing.T) {
	t.Parallel()
	center, others := star(t, 3, Options{})
	ctx := limited(t)
	first, second := collect(t, others[0], "t"), collect(t, others[1], "t")
	third := collect(t, others[2], "another")
	own := collect(t, center, "t")
	require.NoError(t, center.Broadcast(ctx, "t", 1))
	require.NoError(t, center.Broadcast(ctx, "another", 2))
	require.NoError(t, center.Broadcast(ctx, "nobody's", 3))
	assert.Equal(t, "1", next(t, first))
	assert.Equal(t, "1", next(t, second))
	assert.Equal(t, "2", next(t, third))
	require.NoError(t, center.Flush(ctx))
	assert.Empty(t, own)
	assert.Empty(t, first)
	assert.Empty(t, second)
	assert.Empty(t, third)
	stats := center.Stats()
	require.Len(t, stats.Peers, 3)
	for _, p := range stats.Peers {
		assert.EqualValues(t, 1, p.Sent, "nothing is sent that nobody wants")
	}
}

func TestRequestAllHasOneAnswerOrErrorForEach(t *testing.T) {
	t.Parallel()
	center, others := star(t, 4, Options{})
	ctx := limited(t)
	subscribe(t, others[0], "t", echo)
	subscribe(t, others[1], "t", func(context.Context, Message) (any, error) { return nil, errors.New("no") })
	reached := make(chan none)
	subscribe(t, others[2], "t", func(ctx context.Context, _ Message) (any, error) {
		close(reached)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	go func() {
		<-reached
		others[2].conns[0].Close() // as if it had died
	}()
	answers, err := center.RequestAll(ctx, "t", "hello")
	require.Len(t, answers, 3, "node 4 has not subscribed")
	assert.Equal(t, 1, answers[0].Peer.ID)
	require.NoError(t, answers[0].Err)
	assert.Equal(t, `"hello"`, string(answers[0].Data))
	assert.Equal(t, 2, answers[1].Peer.ID)
	_, isRemote := errors.AsType[*RemoteError](answers[1].Err)
	assert.True(t, isRemote)
	assert.Equal(t, 3, answers[2].Peer.ID)
	require.ErrorIs(t, answers[2].Err, ErrPeerLeft)

	peers, ok := errors.AsType[*PeersError](err)
	require.True(t, ok)
	require.Len(t, peers.Errors, 2)
	assert.Equal(t, 2, peers.Errors[0].Peer.ID)
	assert.Equal(t, 3, peers.Errors[1].Peer.ID)
	require.ErrorIs(t, err, ErrPeerLeft)
	require.ErrorContains(t, err, `bus: request: topic "t" to node 2: the handler there: no; topic "t" to node 3: the peer has left`)

	answers, err = center.RequestAll(ctx, "nobody's", 1)
	require.NoError(t, err)
	assert.Empty(t, answers)
}

func TestRequestEndsWithContext(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	reached, release := make(chan none), make(chan none)
	subscribe(t, b, "t", func(context.Context, Message) (any, error) {
		reached <- none{}
		<-release
		return "late", nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := a.Request(ctx, 2, "t", 1)
		failed <- err
	}()
	next(t, reached)
	cancel()
	require.ErrorIs(t, next(t, failed), context.Canceled)
	assert.Positive(t, a.Stats().Peers[0].Unhandled, "it still is there")
	close(release)
	eventually(t, func() bool { return a.Stats().Peers[0].Unhandled == 0 }, "the late answer gives the room back")
	_, err := a.Request(ctx, 2, "t", 1)
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, reached, "nothing is sent with a context that is done")
}

func TestRequestEndsWithThePeer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	subscribe(t, b, "t", func(ctx context.Context, _ Message) (any, error) {
		b.conns[1].Close()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	_, err := a.Request(limited(t), 2, "t", 1)
	require.ErrorIs(t, err, ErrPeerLeft)
	require.ErrorContains(t, err, `topic "t" to node 2`)
	_, err = a.Request(limited(t), 2, "t", 1)
	require.ErrorIs(t, err, ErrNoPeer)
	assert.NoError(t, a.Flush(limited(t)))
}

func TestErrorsNameWhatIsMissing(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	subscribe(t, b, "t", echo)
	tests := []struct {
		name  string
		to    int
		topic string
		v     any
		want  error
		text  string
	}{
		{"no peer", 7, "t", 1, ErrNoPeer, `topic "t" to node 7: no such peer on the bus`},
		{"no subscriber", 2, "x", 1, ErrNoSubscriber, `topic "x" to node 2: the peer has not subscribed`},
		{"itself", 1, "t", 1, errSelf, "cannot send to itself"},
		{"empty topic", 2, "", 1, nil, "empty topic"},
		{"topic that is too long", 2, strings.Repeat("x", 256), 1, nil, "255 is the most"},
		{"topic that is not UTF-8", 2, "\xff", 1, nil, "UTF-8"},
		{"value that is no JSON", 2, "t", math.Inf(1), nil, "unsupported value"},
		{"value that is too big", 2, "t", make([]byte, 17<<20), framing.ErrTooBig, `topic "t" to node 2`},
	}
	for _, tt := range tests {
		_, err := a.Request(ctx, tt.to, tt.topic, tt.v)
		for _, err := range []error{err, a.Send(ctx, tt.to, tt.topic, tt.v)} {
			require.ErrorContains(t, err, tt.text, tt.name)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want, tt.name)
				one, ok := errors.AsType[*PeerError](err)
				require.True(t, ok)
				assert.Equal(t, tt.to, one.Peer.ID)
				assert.Equal(t, tt.topic, one.Topic)
			}
		}
	}
	require.Error(t, a.Broadcast(ctx, "", 1))
	_, err := a.RequestAll(ctx, "\xff", 1)
	require.Error(t, err)
	err = a.Broadcast(ctx, "t", make([]byte, 17<<20))
	require.ErrorIs(t, err, framing.ErrTooBig)
	assert.Zero(t, a.Stats().Peers[0].Unhandled, "what was not sent takes no room")
}

func TestBusWithoutPeers(t *testing.T) {
	t.Parallel()
	for name, mesh := range map[string]*peer.Mesh{"nil": nil, "solo": peer.Solo(peer.Info{Cluster: "test", ID: 5})} {
		b, err := New(t.Context(), mesh, Options{})
		require.NoError(t, err, name)
		_, err = b.Subscribe("t", echo)
		require.NoError(t, err)
		ctx := limited(t)
		require.NoError(t, b.Broadcast(ctx, "t", 1))
		answers, err := b.RequestAll(ctx, "t", 1)
		require.NoError(t, err)
		assert.Empty(t, answers)
		require.ErrorIs(t, b.Send(ctx, 1, "t", 1), ErrNoPeer)
		require.NoError(t, b.Flush(ctx))
		assert.Zero(t, b.Stats())
		require.NoError(t, b.Close())
		require.ErrorIs(t, b.Broadcast(ctx, "t", 1), net.ErrClosed)
		if mesh != nil {
			require.NoError(t, mesh.Close())
		}
	}
}
