package framing_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// stalled returns a connection that is in the middle of a write of 100 bytes, with an empty queue, and the other end.
func stalled(t *testing.T, opts framing.Options) (*framing.Conn, net.Conn) {
	t.Helper()
	left, right := net.Pipe()
	c := framing.New(left, opts)
	require.NoError(t, c.SendMessage(t.Context(), frameOf(100)))
	_, err := io.ReadFull(right, make([]byte, 1))
	require.NoError(t, err)
	return c, right
}

// frameOf returns a message that makes a frame of so many bytes, up to 127.
func frameOf(size int) framing.Message {
	return framing.Message{Type: framing.Binary, Data: make([]byte, size-2)}
}

// send sends a frame of so many bytes with a bound.
func send(ctx context.Context, c *framing.Conn, b framing.Bound, size int) error {
	return c.SendParts(ctx, b, framing.Binary, nil, frameOf(size).Data)
}

// finish lets a stalled connection write what it has, and closes both ends.
func finish(t *testing.T, c *framing.Conn, peer net.Conn) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { drainRaw(peer) })
	wg.Go(func() { _, _ = peer.Write(framing.AppendFrame(nil, framing.Close, nil)) })
	err := c.Close(framing.CodeNormal, "")
	wg.Wait()
	peer.Close()
	require.NoError(t, err)
}

func TestSendPartsJoinsThem(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{MaxMessage: 10})
	ctx := limited(t)
	tests := []struct {
		name       string
		typ        framing.Type
		head, body string
		err        string
	}{
		{"binary", framing.Binary, "\xff", "\xfe", ""},
		{"head only", framing.Binary, "a", "", ""},
		{"body only", framing.Binary, "", "b", ""},
		{"nothing", framing.Binary, "", "", ""},
		{"text", framing.Text, "grü", "ße", ""},
		{"text parted within a character", framing.Text, "gr\xc3", "\xbc", ""},
		{"largest", framing.Binary, "12345", "67890", ""},
		{"too large", framing.Binary, "12345", "678901", "message too big"},
		{"text that begins wrong", framing.Text, "\xff", "", "not valid UTF-8"},
		{"text that ends wrong", framing.Text, "a", "\xff", "not valid UTF-8"},
		{"text that ends within a character", framing.Text, "gr\xc3", "", "not valid UTF-8"},
		{"text that goes on wrong", framing.Text, "gr\xc3", "a", "not valid UTF-8"},
		{"control frame", framing.Ping, "", "", "not the type of a message"},
	}
	for _, tt := range tests {
		err := a.SendParts(ctx, framing.Bound{}, tt.typ, []byte(tt.head), []byte(tt.body))
		if tt.err != "" {
			require.ErrorContains(t, err, tt.err, tt.name)
			continue
		}
		require.NoError(t, err, tt.name)
		m, err := b.Receive(ctx)
		require.NoError(t, err)
		assert.Equal(t, tt.typ, m.Type, tt.name)
		assert.Equal(t, tt.head+tt.body, string(m.Data), tt.name)
	}
}

func TestBoundFails(t *testing.T) {
	t.Parallel()
	c, peer := stalled(t, framing.Options{MaxQueue: 100})
	ctx := limited(t)
	fail := func(queue, size int) error { return send(ctx, c, framing.Bound{Queue: queue, Fail: true}, size) }
	require.NoError(t, fail(1, 60), "the queue is empty")
	require.ErrorIs(t, fail(60, 10), framing.ErrQueueFull)
	require.NoError(t, fail(61, 10))
	require.ErrorIs(t, fail(61, 10), framing.ErrQueueFull)
	require.NoError(t, fail(0, 30), "MaxQueue is not yet reached")
	require.ErrorIs(t, fail(0, 10), framing.ErrQueueFull)
	require.NoError(t, fail(1000, 100), "more than MaxQueue")
	assert.Equal(t, 100+60+10+30+100, c.Queued(), "nothing of those that failed")

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, send(cancelled, c, framing.Bound{Fail: true}, 10), context.Canceled)
	finish(t, c, peer)
	assert.Zero(t, c.Queued())
	err := fail(1, 10)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	assert.NotErrorIs(t, err, framing.ErrQueueFull)
}

// Each sender waits by its own bound, and all succeed, beside senders with any other bounds.
func TestBoundsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, peer := stalled(t, framing.Options{MaxQueue: 100})
		require.NoError(t, send(t.Context(), c, framing.Bound{}, 100))

		const each = 20
		bounds := []int{1, 50, 0, 100, 101, 125, 150}
		sent := make(chan int, each*len(bounds))
		waiting := func(bound int) {
			assert.NoError(t, send(t.Context(), c, framing.Bound{Queue: bound}, 10))
			sent <- bound
		}
		for range each {
			for _, bound := range bounds {
				go waiting(bound)
			}
		}
		synctest.Wait()
		in := len(sent)
		assert.Equal(t, 5, in, "those of 150, and some of 101 and 125, fill the queue up to 150")
		assert.Equal(t, 100+150, c.Queued())
		for range in {
			assert.Greater(t, <-sent, 100)
		}
		go drainRaw(peer)
		synctest.Wait()
		require.Len(t, sent, each*len(bounds)-in)
		finish(t, c, peer)
	})
}

// Waiting senders are admitted while there is room, and no longer.
func TestBoundHoldsForThoseThatWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, peer := stalled(t, framing.Options{MaxQueue: 100})
		require.NoError(t, send(t.Context(), c, framing.Bound{}, 100))
		errs := make(chan error, 30)
		for range cap(errs) {
			go func() { errs <- send(t.Context(), c, framing.Bound{}, 60) }()
		}
		synctest.Wait()
		_, err := io.ReadFull(peer, make([]byte, 99+1)) // the rest of the first write, and some of the second
		require.NoError(t, err)
		synctest.Wait()
		assert.Len(t, errs, 2)
		assert.Equal(t, 100+2*60, c.Queued())
		require.ErrorIs(t, send(t.Context(), c, framing.Bound{Fail: true}, 10), framing.ErrQueueFull)
		go drainRaw(peer)
		for range cap(errs) {
			require.NoError(t, <-errs)
		}
		finish(t, c, peer)
	})
}

// A waiting sender is overtaken by few later ones.
func TestWaitIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const senders, atATime = 200, 16
		c, peer := stalled(t, framing.Options{MaxQueue: 100})
		require.NoError(t, send(t.Context(), c, framing.Bound{}, 100))
		for i := range senders {
			go func() { assert.NoError(t, c.Send(t.Context(), i)) }()
			synctest.Wait()
		}
		_, err := io.ReadFull(peer, make([]byte, 99))
		require.NoError(t, err)
		b := framing.New(peer, framing.Options{})
		_, err = b.Receive(t.Context())
		require.NoError(t, err)
		for place := range senders {
			m, err := b.Receive(t.Context())
			require.NoError(t, err)
			var i int
			require.NoError(t, m.Decode(&i))
			assert.Less(t, i, place+atATime)
		}
		closeBoth(c, b)
	})
}

// A wait that a context ends leaves nothing behind that another waits for.
func TestBoundWaitEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, peer := stalled(t, framing.Options{MaxQueue: 100})
		require.NoError(t, send(t.Context(), c, framing.Bound{}, 100))
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 20)
		for i := range cap(errs) {
			ctx := ctx
			if i%2 == 0 {
				ctx = t.Context()
			}
			go func() { errs <- send(ctx, c, framing.Bound{Queue: 1 + 5*i}, 10) }()
		}
		synctest.Wait()
		require.Empty(t, errs)
		cancel()
		synctest.Wait()
		require.Len(t, errs, cap(errs)/2)
		for range cap(errs) / 2 {
			require.ErrorIs(t, <-errs, context.Canceled)
		}
		assert.Equal(t, 200, c.Queued())
		go drainRaw(peer)
		for range cap(errs) / 2 {
			require.NoError(t, <-errs)
		}
		finish(t, c, peer)
	})
}

// Senders that wait when the connection ends get its error.
func TestBoundWaitEndsWithConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, peer := stalled(t, framing.Options{MaxQueue: 100})
		require.NoError(t, send(t.Context(), c, framing.Bound{}, 100))
		errs := make(chan error, 10)
		for i := range cap(errs) {
			go func() { errs <- send(t.Context(), c, framing.Bound{Queue: 1 + 5*i}, 10) }()
		}
		synctest.Wait()
		peer.Close()
		for range cap(errs) {
			require.ErrorIs(t, <-errs, io.ErrClosedPipe)
		}
		<-c.Done()
		_ = c.Close(framing.CodeNormal, "")
	})
}

func TestDoneAndErr(t *testing.T) {
	t.Parallel()
	closed := &framing.CloseError{Code: 4000, Reason: "because"}
	receive := func(c *framing.Conn) { _, _ = c.Receive(context.Background()) }
	tests := []struct {
		name string
		end  func(c, other *framing.Conn, stream, peer net.Conn)
		want func(error) bool
	}{
		{
			name: "closed here",
			end:  func(c, other *framing.Conn, _, _ net.Conn) { closeBoth(c, other) },
			want: func(err error) bool {
				_, peer := errors.AsType[*framing.CloseError](err) // that of the other side may be first
				return peer || errors.Is(err, io.ErrClosedPipe)
			},
		},
		{
			name: "closed by the peer",
			end: func(c, other *framing.Conn, _, _ net.Conn) {
				done := make(chan struct{})
				go func() { defer close(done); _ = other.Close(closed.Code, closed.Reason) }()
				receive(c)
				<-done
			},
			want: func(err error) bool {
				got, ok := errors.AsType[*framing.CloseError](err)
				return ok && *got == *closed
			},
		},
		{
			name: "end of the stream, seen by who receives",
			end:  func(c, _ *framing.Conn, _, peer net.Conn) { peer.Close(); receive(c) },
			want: func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) },
		},
		{
			name: "end of the stream, seen by who sends",
			end: func(c, _ *framing.Conn, _, peer net.Conn) {
				peer.Close()
				_ = c.SendMessage(context.Background(), frameOf(10))
			},
			want: func(err error) bool { return errors.Is(err, syscall.EPIPE) },
		},
		{
			name: "frames that are none",
			end: func(c, _ *framing.Conn, _, peer net.Conn) {
				_, _ = peer.Write(slices.Repeat([]byte{0xff}, 10))
				receive(c)
			},
			want: func(err error) bool {
				_, ok := errors.AsType[*framing.ProtocolError](err)
				return ok
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			left, right := socketPair(t)
			c, other := framing.New(left, framing.Options{}), framing.New(right, framing.Options{})
			require.NoError(t, c.Err())
			select {
			case <-c.Done():
				require.Fail(t, "done before the end")
			default:
			}
			tt.end(c, other, left, right)
			select {
			case <-c.Done():
			case <-limited(t).Done():
				require.Fail(t, "not done")
			}
			err := c.Err()
			require.Error(t, err)
			assert.True(t, tt.want(err), "%v", err)
			closeBoth(c, other)
			assert.Equal(t, err, c.Err(), "Close does not change it")
		})
	}
}
