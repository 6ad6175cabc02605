package framing_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

func TestReceiveWaitsForAnotherReceive(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx := limited(t)
	const receivers = 5
	got := make(chan error, receivers)
	for range receivers {
		go func() {
			_, err := b.Receive(ctx)
			got <- err
		}()
	}
	for range receivers {
		require.NoError(t, a.Send(ctx, 1))
	}
	for range receivers {
		assert.NoError(t, <-got)
	}
}

// No message and no turn is lost when the contexts of some end. Data are not looked at: another Receive has them already.
func TestReceiveInTurnsWhileContextsEnd(t *testing.T) {
	t.Parallel()
	const receivers, messages = 8, 5000
	a, b := pair(t, framing.Options{})
	ctx, enough := context.WithCancel(limited(t))
	defer enough()
	var got atomic.Int32
	var wg sync.WaitGroup
	for range receivers {
		wg.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithCancel(ctx)
				go cancel()
				if _, err := b.Receive(short); err == nil && got.Add(1) == messages {
					enough()
				}
				cancel()
			}
		})
	}
	for range messages {
		require.NoError(t, a.Send(ctx, 1))
	}
	wg.Wait()
	require.EqualValues(t, messages, got.Load())
}

func TestReceiveCancelled(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(right, framing.Options{CloseTimeout: time.Millisecond})
	defer c.Close(framing.CodeNormal, "")
	whole := last(framing.Text, "hello")
	for i := range whole {
		_, err := left.Write(whole[i : i+1])
		require.NoError(t, err)
		if i == len(whole)-1 {
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err = c.Receive(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		_, err = c.Receive(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	m, err := c.Receive(limited(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(m.Data))
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(right, framing.Options{CloseTimeout: time.Millisecond})
	defer c.Close(framing.CodeNormal, "")
	whole := last(framing.Text, "hello")
	for i := range whole {
		_, err := left.Write(whole[i : i+1])
		require.NoError(t, err)
		if i == len(whole)-1 {
			break
		}
		for _, ctx := range []context.Context{context.Background(), limited(t)} {
			c.Interrupt()
			_, err = c.Receive(ctx)
			require.ErrorIs(t, err, framing.ErrInterrupted, "before it reads")
			got := make(chan error)
			go func() {
				_, err := c.Receive(ctx)
				got <- err
			}()
			c.Interrupt()
			require.ErrorIs(t, <-got, framing.ErrInterrupted)
		}
	}
	m, err := c.Receive(limited(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(m.Data))
}

func TestReceiveCancelledWhileAnotherWaits(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	first, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := b.Receive(first)
		got <- err
	}()
	second := limited(t)
	go func() {
		_, err := b.Receive(second)
		got <- err
	}()
	cancel()
	require.ErrorIs(t, <-got, context.Canceled)
	require.NoError(t, a.Send(second, 1))
	assert.NoError(t, <-got)
}

// cancelledStream cancels a context with its first Read, which succeeds all the same.
type cancelledStream struct {
	net.Conn
	cancel      context.CancelFunc
	interrupted chan struct{}
	once        sync.Once
}

func (s *cancelledStream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.once.Do(func() {
		s.cancel()
		<-s.interrupted
	})
	return n, err
}

func (s *cancelledStream) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		close(s.interrupted)
	}
	return s.Conn.SetReadDeadline(t)
}

func TestReceiveCancelledBetweenReads(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := framing.New(&cancelledStream{Conn: right, cancel: cancel, interrupted: make(chan struct{})}, framing.Options{})
	whole := last(framing.Text, "hello")
	_, err := left.Write(whole[:3])
	require.NoError(t, err)
	_, err = c.Receive(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = left.Write(whole[3:])
	require.NoError(t, err)
	m, err := c.Receive(limited(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(m.Data))
	require.NoError(t, left.Close())
	assert.ErrorIs(t, c.Close(framing.CodeNormal, ""), io.ErrUnexpectedEOF)
}

// plain hides the deadlines of a stream.
type plain struct{ io.ReadWriteCloser }

// announced is plain, and tells when a Read begins.
type announced struct {
	plain
	reads chan struct{} // gets a value before each Read, unless one is there
}

func (s announced) Read(p []byte) (int, error) {
	select {
	case s.reads <- struct{}{}:
	default:
	}
	return s.plain.Read(p)
}

func TestReceiveCancelledWithoutDeadlines(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	stream := announced{plain{right}, make(chan struct{}, 1)}
	c := framing.New(stream, framing.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := left.Write(last(framing.Binary, "a"))
	require.NoError(t, err)
	_, err = c.Receive(ctx)
	require.NoError(t, err)
	cancel()
	_, err = c.Receive(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.Send(t.Context(), []byte("b")), "no read was in flight")
	_, err = io.ReadFull(left, make([]byte, 3))
	require.NoError(t, err)

	<-stream.reads
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		<-stream.reads // of the Receive below
		cancel()
	}()
	_, err = c.Receive(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = left.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = c.Receive(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, c.Send(t.Context(), 1), context.Canceled)
	require.Error(t, c.Close(framing.CodeNormal, ""))
	assert.ErrorIs(t, c.Send(t.Context(), 1), io.ErrClosedPipe)
}

func TestServeReturnsTheErrorOfHandle(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	require.NoError(t, a.Send(t.Context(), 1))
	want := errors.New("enough")
	assert.Equal(t, want, b.Serve(limited(t), func(framing.Message) error { return want }))
}
