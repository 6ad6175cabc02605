package bus

import (
	"context"
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

// lendingTo waits until the reader of from lends the reading of its link to another node, on which a topic is subscribed.
func lendingTo(t *testing.T, from *node, to int, topic string) *link {
	t.Helper()
	l := from.hub.links.to(to)
	eventually(t, func() bool {
		_, err := from.Request(limited(t), to, topic, "quick")
		require.NoError(t, err)
		return l.lending.state.Load() == freeReading
	}, "the reader lends")
	return l
}

// noWatch keeps the watch from taking anything back.
func noWatch(n *node) {
	n.hub.watch.ticker.Set(0)
	n.hub.watch.on.Store(true)
}

// borrowed waits until a caller reads.
func borrowed(t *testing.T, l *link) {
	t.Helper()
	eventually(t, func() bool { return l.lending.state.Load() == lentReading }, "a caller reads")
}

func TestCallerReadsItsAnswer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	noWatch(a)
	subscribe(t, b, "t", echo)
	l := lendingTo(t, a, 2, "t")
	loans := l.lending.loans.Load()
	for i := range 100 {
		m, err := a.Request(limited(t), 2, "t", i)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(i), string(m.Data))
	}
	assert.Equal(t, loans+200, l.lending.loans.Load(), "each caller has borrowed the reading, and given it back")
}

// What comes between two requests, or while a caller reads, is handled at once: without the watch, nothing else would notice
// that it was forgotten.
func TestMessagesReachALinkThatIsLent(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	noWatch(a)
	got := collect(t, a, "got")
	subscribe(t, a, "back", echo)
	subscribe(t, b, "t", switching(func(ctx context.Context, m Message) (any, error) {
		if err := b.Send(ctx, 1, "got", m.Message); err != nil {
			return nil, err
		}
		next(t, got)
		return b.Request(ctx, 1, "back", m.Message)
	}))
	for i := range 20 {
		lendingTo(t, a, 2, "t")
		require.NoError(t, b.Send(limited(t), 1, "got", i))
		require.Equal(t, strconv.Itoa(i), next(t, got))
		l := lendingTo(t, a, 2, "t")
		_, err := a.Request(limited(t), 2, "t", i)
		require.NoError(t, err)
		assert.Positive(t, l.lending.loans.Load())
	}
}

// A handler does not run on the goroutine of a caller, whose answer it would keep from it.
func TestHandlerDoesNotDelayTheCallerThatReads(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	noWatch(a)
	release := make(chan none)
	got := make(chan none)
	subscribe(t, a, "slow", func(context.Context, Message) (any, error) {
		got <- none{}
		<-release
		return nil, nil //nolint:nilnil // an empty answer
	})
	subscribe(t, b, "t", switching(func(ctx context.Context, m Message) (any, error) {
		err := b.Send(ctx, 1, "slow", "x")
		<-got
		return m.Message, err
	}))
	for range 10 {
		lendingTo(t, a, 2, "t")
		_, err := a.Request(limited(t), 2, "t", "x")
		require.NoError(t, err)
		release <- none{}
	}
}

func TestCallerThatReadsStopsWaiting(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	noWatch(a)
	release := make(chan none)
	subscribe(t, b, "t", switching(func(_ context.Context, m Message) (any, error) {
		<-release
		return m.Message, nil
	}))
	for range 10 {
		l := lendingTo(t, a, 2, "t")
		ctx, cancel := context.WithCancel(limited(t))
		ended := make(chan error)
		go func() {
			_, err := a.Request(ctx, 2, "t", "slow")
			ended <- err
		}()
		borrowed(t, l)
		cancel()
		require.ErrorIs(t, next(t, ended), context.Canceled)
		release <- none{}
	}
}

// A caller that waits for room in the window leaves the reading to the reader.
func TestCallerThatWaitsForRoomDoesNotRead(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{Window: 2000})
	noWatch(a)
	subscribe(t, b, "t", echo)
	got := collect(t, a, "got")
	_, release := stuck(t, b, "full")
	lendingTo(t, a, 2, "t")
	fill(t, a, 2, "full")
	ended := make(chan error)
	go func() {
		_, err := a.Request(limited(t), 2, "full", "x")
		ended <- err
	}()
	eventually(t, func() bool { return a.Stats().Total.Blocked == 1 }, "it waits")
	require.NoError(t, b.Send(limited(t), 1, "got", 1))
	require.Equal(t, "1", next(t, got))
	release()
	require.NoError(t, next(t, ended))
}

func TestBusClosesWhileACallerReads(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	noWatch(a)
	release := make(chan none)
	subscribe(t, b, "t", switching(func(context.Context, Message) (any, error) {
		<-release
		return "late", nil
	}))
	l := lendingTo(t, a, 2, "t")
	held, ended := make(chan none), make(chan error)
	subscribe(t, a, "held", func(context.Context, Message) (any, error) {
		close(held)
		return nil, <-ended // Close waits for the handler, and it for the request
	})
	lendingTo(t, a, 2, "t")
	go func() {
		_, err := a.Request(context.Background(), 2, "t", "slow")
		ended <- err
		ended <- err
	}()
	borrowed(t, l)
	require.NoError(t, b.Send(limited(t), 1, "held", 1))
	next(t, held)
	go a.Close()
	require.ErrorIs(t, next(t, ended), net.ErrClosed)
	close(release)
}

func TestLinkThatIsLentEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(a, b *node){
		"stream":      func(a, _ *node) { a.conns[2].Close() },
		"peer stream": func(_, b *node) { b.conns[1].Close() },
		"bus":         func(a, _ *node) { a.Close() },
		"peer bus":    func(_, b *node) { b.Close() },
	} {
		for _, reading := range []bool{false, true} {
			t.Run(name+" "+strconv.FormatBool(reading), func(t *testing.T) {
				t.Parallel()
				a, b := pair(t, Options{})
				subscribe(t, b, "t", switching(func(ctx context.Context, _ Message) (any, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}))
				l := lendingTo(t, a, 2, "t")
				ended := make(chan error, 1)
				if reading {
					go func() {
						_, err := a.Request(context.Background(), 2, "t", "slow")
						ended <- err
					}()
					borrowed(t, l)
				} else {
					ended <- errors.New("no request")
				}
				end(a, b)
				require.Error(t, next(t, ended))
				eventually(t, func() bool { return a.hub.links.to(2) == nil }, "the link has ended")
			})
		}
	}
}

// A peer that breaks the protocol while a caller reads.
func TestCallerReadsWhatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	a := newNode(t, 1, Options{})
	t.Cleanup(func() { a.Close() })
	a.conns[2] = left
	ctx := limited(t)
	c := framing.New(right, framing.Options{})
	send := func(m message) {
		assert.NoError(t, c.SendParts(ctx, framing.Bound{}, framing.Binary, m.appendHead(nil), m.data))
	}
	send(message{kind: kindHello, id: version, bytes: 1 << 20})
	send(message{kind: kindSubscribe, id: 1, data: []byte("t")})
	send(message{kind: kindFlush})
	go func() {
		_ = c.Serve(ctx, func(f framing.Message) error {
			m, err := parse(f.Data)
			switch {
			case err != nil:
				return err
			case m.kind == kindFlush:
				send(message{kind: kindFlushed, number: m.number})
			case m.kind == kindRequest && string(m.data) == `"bad"`:
				send(message{kind: kindAnswer, number: 1 << 40, typ: framing.Binary})
			case m.kind == kindRequest:
				send(message{kind: kindAnswer, number: m.number, typ: framing.Binary})
			}
			return nil
		})
		_ = c.Close(framing.CodeNormal, "")
	}()
	a.hub.open(left, peer.Info{Cluster: "test", ID: 2})
	eventually(t, func() bool { return a.hub.links.to(2) != nil && a.hub.links.to(2).remotes.of("t") != nil }, "the link is up")
	lendingTo(t, a, 2, "t")
	_, err := a.Request(ctx, 2, "t", "bad")
	require.ErrorIs(t, err, ErrPeerLeft)
	eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.cuts) == 1 }, "the peer is cut")
}

// Many callers, and messages in both directions at the same time: each gets its own answer, and messages keep their order.
func TestManyCallersOfALink(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	got := map[*node]<-chan string{a: collect(t, a, "order"), b: collect(t, b, "order")}
	subscribe(t, a, "t", echo)
	subscribe(t, b, "t", echo)
	const rounds = 300
	for callers := range 4 {
		var all sync.WaitGroup
		for _, n := range []*node{a, b} {
			to := 3 - n.info.ID
			for range callers + 1 {
				all.Go(func() {
					for i := range rounds {
						m, err := n.Request(ctx, to, "t", i)
						if assert.NoError(t, err) {
							assert.Equal(t, strconv.Itoa(i), string(m.Data))
						}
					}
				})
			}
			all.Go(func() {
				for i := range rounds {
					if err := n.Send(ctx, to, "order", i); err != nil {
						t.Error(err)
						return
					}
					if i%30 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		all.Wait()
		for _, n := range []*node{a, b} {
			for i := range rounds {
				require.Equal(t, strconv.Itoa(i), next(t, got[n]))
			}
		}
	}
}

// The watch takes back what nobody borrows, and goes off.
func TestReadingIsTakenBack(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	subscribe(t, b, "t", echo)
	for range 3 {
		l := lendingTo(t, a, 2, "t")
		eventually(t, func() bool { return l.lending.state.Load() == ownReading && !a.hub.watch.on.Load() }, "it is the reader's")
	}
}
