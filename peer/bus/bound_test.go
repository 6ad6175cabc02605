package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// stuck subscribes a topic with a handler that waits until it is released, by the test's end at the latest.
func stuck(tb testing.TB, n *node, topic string) (got <-chan string, release func()) {
	tb.Helper()
	all, done := make(chan string, 1<<16), make(chan none)
	release = sync.OnceFunc(func() { close(done) })
	subscribe(tb, n, topic, func(_ context.Context, m Message) (any, error) {
		<-done
		all <- string(m.Data)
		return nil, nil //nolint:nilnil // an empty answer
	})
	tb.Cleanup(release)
	return all, release
}

// fill sends until the window is full, and returns how many messages have got in.
func fill(tb testing.TB, n *node, to int, topic string) (sent int) {
	tb.Helper()
	for {
		err := n.WhenFull(Fail).Send(limited(tb), to, topic, sent)
		if err != nil {
			require.ErrorIs(tb, err, ErrFull)
			return sent
		}
		sent++
	}
}

func TestSlowSubscriberHarmsNoOtherTopic(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{Window: 2000})
	ctx := limited(t)
	slow, release := stuck(t, b, "slow")
	fast := collect(t, b, "fast")
	sent := fill(t, a, 2, "slow")
	assert.Positive(t, sent)
	blocked := make(chan error)
	go func() { blocked <- a.Send(ctx, 2, "slow", sent) }()
	eventually(t, func() bool { return a.Stats().Total.Blocked == 1 }, "it waits")
	for i := range 1000 {
		require.NoError(t, a.Send(ctx, 2, "fast", i))
	}
	for i := range 1000 {
		require.Equal(t, strconv.Itoa(i), next(t, fast))
	}
	release()
	require.NoError(t, next(t, blocked))
	for i := range sent + 1 {
		require.Equal(t, strconv.Itoa(i), next(t, slow), "nothing is lost")
	}
	eventually(t, func() bool { return a.Stats().Peers[0].Unhandled == 0 }, "all is handled")
}

func TestSlowSubscriberHarmsNoOtherSender(t *testing.T) {
	t.Parallel()
	center, others := star(t, 2, Options{Window: 2000})
	subscribe(t, center, "t", func(_ context.Context, m Message) (any, error) {
		if m.From.ID == 1 {
			<-t.Context().Done()
		}
		return "ok", nil
	})
	fill(t, others[0], 0, "t")
	for range 100 {
		_, err := others[1].Request(limited(t), 0, "t", 1)
		require.NoError(t, err)
	}
}

func TestFullWindow(t *testing.T) {
	t.Parallel()
	t.Run("Block", func(t *testing.T) {
		t.Parallel()
		a, b := pair(t, Options{Window: 1000})
		stuck(t, b, "t")
		fill(t, a, 2, "t")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, a.Send(ctx, 2, "t", 1), context.DeadlineExceeded)
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := a.Request(ctx, 2, "t", 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualValues(t, 2, a.Stats().Total.Blocked)
		assert.GreaterOrEqual(t, a.Stats().Peers[0].Unhandled, 1000)
		assert.Less(t, a.Stats().Peers[0].Unhandled, 1100)
	})
	t.Run("Fail", func(t *testing.T) {
		t.Parallel()
		a, b := pair(t, Options{Window: 1000})
		stuck(t, b, "t")
		sent := fill(t, a, 2, "t")
		failing := a.WhenFull(Fail)
		_, err := failing.Request(limited(t), 2, "t", 1)
		require.ErrorIs(t, err, ErrFull)
		require.ErrorContains(t, err, `topic "t" to node 2: too much is on its way to the peer`)
		require.ErrorIs(t, failing.Broadcast(limited(t), "t", 1), ErrFull)
		answers, err := failing.RequestAll(limited(t), "t", 1)
		require.ErrorIs(t, err, ErrFull)
		require.ErrorIs(t, answers[0].Err, ErrFull)
		stats := a.Stats().Total
		assert.EqualValues(t, 4, stats.Failed)
		assert.EqualValues(t, sent, stats.Sent)
	})
	t.Run("Cut", func(t *testing.T) {
		t.Parallel()
		a, b := pair(t, Options{Window: 1000})
		_, release := stuck(t, b, "t")
		sent := fill(t, a, 2, "t")
		err := a.WhenFull(Cut).Send(limited(t), 2, "t", 1)
		require.ErrorIs(t, err, ErrFull)
		require.ErrorIs(t, err, ErrPeerLeft)
		eventually(t, func() bool { return len(a.Stats().Peers) == 0 }, "it is cut")
		release()
		require.NoError(t, a.Close())
		assert.EqualValues(t, 1, a.Stats().Total.Cut)
		assert.EqualValues(t, sent, a.Stats().Total.Lost)
		require.Len(t, a.lost, 1)
		assert.Equal(t, "t", a.lost[0].Topic)
		assert.Equal(t, b.info, a.lost[0].Peer)
		assert.Equal(t, sent, a.lost[0].Unconfirmed)
		require.Error(t, a.lost[0].Err)
	})
}

// The largest message goes, too, and one at a time where the window is smaller.
func TestMessageLargerThanTheWindow(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{Window: 1000})
	subscribe(t, b, "t", echo)
	for range 10 {
		m, err := a.Request(limited(t), 2, "t", make([]byte, 3<<20))
		require.NoError(t, err)
		require.Len(t, m.Data, 3<<20)
	}
}

func TestSmallerWindowCounts(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, 1, Options{Window: 1 << 20}), newNode(t, 2, Options{Window: 1000})
	join(t, a, b)
	stuck(t, a, "t")
	stuck(t, b, "t")
	fill(t, a, 2, "t")
	fill(t, b, 1, "t")
	assert.Less(t, a.Stats().Peers[0].Unhandled, 1100)
	assert.Less(t, b.Stats().Peers[0].Unhandled, 1100)
}

func TestBroadcastServesOthersFirst(t *testing.T) {
	t.Parallel()
	center, others := star(t, 4, Options{Window: 1000})
	stuck(t, others[0], "t")
	_, release := stuck(t, others[1], "t")
	third, fourth := collect(t, others[2], "t"), collect(t, others[3], "t")
	fill(t, center, 1, "t")
	fill(t, center, 2, "t")
	ctx, cancel := context.WithCancel(limited(t))
	failed := make(chan error)
	go func() { failed <- center.Broadcast(ctx, "t", "x") }()
	assert.Equal(t, `"x"`, next(t, third))
	assert.Equal(t, `"x"`, next(t, fourth))
	eventually(t, func() bool { return center.Stats().Total.Blocked == 2 }, "it waits for two")
	sent := center.Stats().Total.Sent
	release()
	eventually(t, func() bool { return center.Stats().Total.Sent == sent+1 }, "the second gets it as soon as it can")
	cancel()
	err := next(t, failed)
	require.ErrorIs(t, err, context.Canceled)
	peers, ok := errors.AsType[*PeersError](err)
	require.True(t, ok)
	require.Len(t, peers.Errors, 1)
	assert.Equal(t, 1, peers.Errors[0].Peer.ID)
}

// A peer that does not even read fills the queue of its link, with windows of any size.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	a := newNode(t, 1, Options{})
	left, right := socketPair(t)
	a.conns[2] = left
	a.hub.open(left, peer.Info{ID: 2})
	c := framing.New(right, framing.Options{})
	ctx := limited(t)
	var greeting []message
	greeting = append(greeting, message{kind: kindHello, id: version, bytes: 1 << 20})
	for i := range 16 { // more than the link takes: 2 messages in the queue, 3 that are being written, and what the socket holds
		greeting = append(greeting, message{kind: kindSubscribe, id: uint64(i + 1), data: []byte(strconv.Itoa(i))})
	}
	for _, m := range append(greeting, message{kind: kindFlush}, message{kind: kindFlushed}) {
		require.NoError(t, c.Send(ctx, encoded(m)))
	}
	eventually(t, func() bool { return len(a.Stats().Peers) == 1 }, "it is linked")
	failing := a.WhenFull(Fail)
	topic, blocked := 0, make(chan error, 1)
	for waits := false; !waits; {
		err := error(nil)
		for ; err == nil; topic++ {
			err = failing.Send(ctx, 2, strconv.Itoa(topic), make([]byte, 600<<10))
		}
		require.ErrorIs(t, err, ErrFull)
		require.ErrorContains(t, err, "wait in the queue of the link")
		topic-- // it has all of its window
		go func(unused string) { blocked <- a.Send(ctx, 2, unused, 2) }(strconv.Itoa(topic))
		eventually(t, func() bool {
			s := a.Stats()
			waits = s.Total.Blocked > 0 && s.Peers[0].Queued > boundMessages
			return waits || len(blocked) > 0
		}, "it waits")
		if !waits { // the writer took more before it was held up
			require.NoError(t, <-blocked)
		}
	}
	subscribed, err := a.Subscribe("own", echo) // which is of another class
	require.NoError(t, err)
	require.NoError(t, subscribed.Close())
	go func() { _ = c.Serve(ctx, func(framing.Message) error { return nil }) }()
	require.NoError(t, next(t, blocked))
	require.ErrorIs(t, a.WhenFull(Cut).Send(ctx, 2, "x", 1), ErrNoSubscriber)
	closeBoth(a, c)
	assert.Empty(t, a.cuts)
}

func closeBoth(a *node, c *framing.Conn) {
	var closing sync.WaitGroup
	closing.Go(func() { a.Close() })
	closing.Go(func() { c.Close(framing.CodeGoingAway, "") })
	closing.Wait()
}

func TestLinkRefusesWhatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	hello := message{kind: kindHello, id: version, bytes: 1000}
	publish := message{kind: kindPublish, id: 1, typ: framing.Binary, data: make([]byte, 1000)}
	tests := map[string][]message{
		"no hello":                   {publish},
		"two hellos":                 {hello, hello},
		"version 0":                  {{kind: kindHello, bytes: 1}},
		"no window":                  {{kind: kindHello, id: 1}},
		"more than the window":       {hello, publish, publish},
		"value of an unknown type":   {hello, {kind: kindPublish, id: 1, typ: framing.Ping}},
		"answer to nothing":          {hello, {kind: kindAnswer, number: 1, typ: framing.Text}},
		"flushed for nothing":        {hello, {kind: kindFlushed, number: 1}},
		"agreement twice":            {hello, {kind: kindFlushed}, {kind: kindFlushed}},
		"topic twice":                {hello, {kind: kindSubscribe, id: 1, data: []byte("t")}, {kind: kindSubscribe, id: 2, data: []byte("t")}},
		"number twice":               {hello, {kind: kindSubscribe, id: 1, data: []byte("t")}, {kind: kindSubscribe, id: 1, data: []byte("u")}},
		"end of no subscription":     {hello, {kind: kindUnsubscribe, id: 1}},
		"credit for what is not due": {hello, {kind: kindSubscribe, id: 1, data: []byte("t")}, {kind: kindCredit, id: 1, bytes: 1}},
	}
	for name, messages := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newNode(t, 1, Options{Window: 1000})
			got := make(chan none, 10)
			release := make(chan none)
			_, err := a.Subscribe("t", func(context.Context, Message) (any, error) {
				got <- none{}
				<-release
				return nil, nil //nolint:nilnil // an empty answer
			})
			require.NoError(t, err)
			left, right := socketPair(t)
			a.conns[2] = left
			a.hub.open(left, peer.Info{ID: 2})
			c := framing.New(right, framing.Options{})
			ctx := limited(t)
			for _, m := range messages {
				_ = c.Send(ctx, encoded(m))
			}
			var closed error
			for closed == nil {
				_, closed = c.Receive(ctx)
			}
			reason, ok := errors.AsType[*framing.CloseError](closed)
			require.True(t, ok, "%v", closed)
			assert.Equal(t, framing.CodeProtocol, reason.Code)
			assert.NotEmpty(t, reason.Reason)
			close(release)
			c.Close(framing.CodeNormal, "")
			eventually(t, func() bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				return len(a.cuts) == 1
			}, "it is cut")
			require.NoError(t, a.Close())
		})
	}
}

// Of two that send at the same time, the second may have its place in the queue first.
func TestWindowOfMessagesThatChangePlaces(t *testing.T) {
	t.Parallel()
	a := newNode(t, 1, Options{Window: 1000})
	release := make(chan none)
	_, err := a.Subscribe("t", func(context.Context, Message) (any, error) {
		<-release
		return nil, nil //nolint:nilnil // an empty answer
	})
	require.NoError(t, err)
	left, right := socketPair(t)
	a.conns[2] = left
	a.hub.open(left, peer.Info{ID: 2})
	c := framing.New(right, framing.Options{})
	ctx := limited(t)
	small := message{kind: kindPublish, id: 1, typ: framing.Binary, data: make([]byte, 900)}
	large := message{kind: kindPublish, id: 1, typ: framing.Binary, data: make([]byte, 5000)}
	for _, m := range []message{{kind: kindHello, id: version, bytes: 1000}, large, small, {kind: kindFlush, number: 7}} {
		require.NoError(t, c.Send(ctx, encoded(m)))
	}
	for flushed := false; !flushed; {
		frame, err := c.Receive(ctx)
		require.NoError(t, err)
		m, err := parse(frame.Data)
		require.NoError(t, err)
		flushed = m.kind == kindFlushed && m.number == 7
	}
	close(release)
	closeBoth(a, c)
}

// A later version may say what this one does not know.
func TestLinkSkipsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	a := newNode(t, 1, Options{})
	_, err := a.Subscribe("t", echo)
	require.NoError(t, err)
	left, right := socketPair(t)
	a.hub.open(left, peer.Info{ID: 2})
	c := framing.New(right, framing.Options{})
	ctx := limited(t)
	require.NoError(t, c.Send(ctx, append(encoded(message{kind: kindHello, id: 99, bytes: 1 << 30}), "more"...)))
	require.NoError(t, c.Send(ctx, []byte("\xc8what is this")))
	require.NoError(t, c.Send(ctx, encoded(message{kind: kindRequest, id: 1, number: 7, typ: framing.Text, data: []byte("1")})))
	for {
		frame, err := c.Receive(ctx)
		require.NoError(t, err)
		if m, err := parse(frame.Data); err == nil && m.kind == kindAnswer {
			assert.EqualValues(t, 7, m.number)
			break
		}
	}
	closeBoth(a, c)
}

func TestPeerThatDiesLeavesThePrefix(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	const sent, handled = 500, 123
	release := make(chan none)
	var last uint32
	subscribe(t, b, "t", func(_ context.Context, m Message) (any, error) {
		if last = binary.BigEndian.Uint32(m.Data); last == handled {
			<-release
		}
		return nil, nil //nolint:nilnil // an empty answer
	})
	for i := range sent {
		require.NoError(t, a.Send(ctx, 2, "t", binary.BigEndian.AppendUint32(nil, uint32(i+1))))
	}
	eventually(t, func() bool { return confirmed(a.Bus, "t") == handled-1 }, "what is handled is confirmed while more waits")
	a.conns[2].Close()
	eventually(t, func() bool { return len(a.Stats().Peers) == 0 }, "the link has ended")
	close(release)
	require.NoError(t, a.Close())
	require.Len(t, a.lost, 1)
	assert.Equal(t, sent-handled+1, a.lost[0].Unconfirmed)
	require.NoError(t, b.Close())
	assert.GreaterOrEqual(t, int(last), handled)
}

// confirmed returns how many messages on a topic are known to have been handled by the only peer.
func confirmed(b *Bus, topic string) int {
	for _, l := range b.hub.links.sorted() {
		if r := l.remotes.of(topic); r != nil {
			return int(r.handled.Load())
		}
	}
	return -1
}

func TestCloseDeliversWhatIsQueued(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{Window: 16 << 20})
	ctx := limited(t)
	const sent = 5000
	got := make(chan int, sent)
	subscribe(t, b, "t", func(_ context.Context, m Message) (any, error) {
		got <- len(m.Data)
		return nil, nil //nolint:nilnil // an empty answer
	})
	data := make([]byte, 1000)
	for range sent {
		require.NoError(t, a.Send(ctx, 2, "t", data))
	}
	require.NoError(t, a.Close())
	for range sent {
		require.Equal(t, 1000, next(t, got))
	}
}

func TestCloseEndsRequestsAndWaits(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{Window: 1000})
	ctx := limited(t)
	_, release := stuck(t, b, "t")
	failed := make(chan error)
	go func() {
		_, err := a.Request(ctx, 2, "t", 1)
		failed <- err
	}()
	eventually(t, func() bool { return b.Stats().Total.Received == 1 }, "it has come")
	fill(t, a, 2, "t")
	go func() { failed <- a.Send(ctx, 2, "t", 1) }()
	eventually(t, func() bool { return a.Stats().Total.Blocked == 1 }, "it waits")
	require.NoError(t, a.Close())
	require.ErrorIs(t, next(t, failed), net.ErrClosed)
	require.ErrorIs(t, next(t, failed), net.ErrClosed)
	release()
}

// Close lets a handler give its answer, but does not wait for ever.
func TestCloseLetsHandlersAnswer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	reached := make(chan none)
	subscribe(t, b, "t", func(ctx context.Context, _ Message) (any, error) {
		close(reached)
		<-ctx.Done()
		return "closing", nil
	})
	answered := make(chan error)
	go func() {
		m, err := a.Request(limited(t), 2, "t", 1)
		if err == nil && string(m.Data) != `"closing"` {
			err = errors.New(string(m.Data))
		}
		answered <- err
	}()
	next(t, reached)
	require.NoError(t, b.Close())
	require.NoError(t, next(t, answered))
}

func TestCloseOfAPeerThatDoesNotReadIsBounded(t *testing.T) {
	t.Parallel()
	a := newNode(t, 1, Options{CloseTimeout: 50 * time.Millisecond})
	left, right := socketPair(t)
	defer right.Close()
	a.hub.open(left, peer.Info{ID: 2})
	start := time.Now()
	require.NoError(t, a.Close())
	assert.Less(t, time.Since(start), patient)
}

// The order holds over a link that was cut.
func TestOrderOverTwoLinks(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	got, release := stuck(t, b, "t")
	for i := range 100 {
		require.NoError(t, a.Send(ctx, 2, "t", i))
	}
	require.NoError(t, a.Flush(ctx))
	b.conns[1].Close()
	eventually(t, func() bool { return !a.hub.links.has(b.info) && !b.hub.links.has(a.info) }, "the link has ended")
	join(t, a, b)
	for i := range 100 {
		require.NoError(t, a.Send(ctx, 2, "t", 100+i))
	}
	require.NoError(t, a.Flush(ctx))
	release()
	for i := range 200 {
		require.Equal(t, strconv.Itoa(i), next(t, got))
	}
}

func TestStatsSurviveThePeer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	subscribe(t, b, "t", echo)
	for range 3 {
		_, err := a.Request(limited(t), 2, "t", 1)
		require.NoError(t, err)
	}
	stats := a.Stats()
	require.Len(t, stats.Peers, 1)
	assert.Equal(t, b.info, stats.Peers[0].Peer)
	assert.Equal(t, stats.Total, stats.Peers[0].Counters)
	b.conns[1].Close()
	eventually(t, func() bool { return len(a.Stats().Peers) == 0 && len(b.Stats().Peers) == 0 }, "the link has ended")
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	assert.Equal(t, Counters{Sent: 3}, a.Stats().Total)
	assert.Equal(t, Counters{Received: 3}, b.Stats().Total)
}
