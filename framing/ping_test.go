package framing_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

func TestPing(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx := limited(t)
	var wg sync.WaitGroup
	for _, c := range []*framing.Conn{a, b} {
		wg.Go(func() { _ = c.Serve(ctx, func(framing.Message) error { return nil }) })
	}
	var pings sync.WaitGroup
	for range 10 {
		for _, c := range []*framing.Conn{a, b} {
			pings.Go(func() { assert.NoError(t, c.Ping(ctx)) })
		}
	}
	pings.Wait()
	closeBoth(a, b)
	wg.Wait()
	assert.ErrorIs(t, a.Ping(ctx), io.ErrClosedPipe)
}

func TestPingEnds(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, a.Ping(ctx), context.DeadlineExceeded, "nobody receives")

	failed := make(chan error, 1)
	go func() { failed <- a.Ping(limited(t)) }()
	closeBoth(a, b)
	assert.ErrorIs(t, <-failed, io.ErrClosedPipe)
}

// RFC 6455, section 5.5.3: a pong may answer several pings, or none.
func TestPongs(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(left, framing.Options{CloseTimeout: time.Millisecond})
	defer c.Close(framing.CodeNormal, "")
	ctx := limited(t)
	received := make(chan error, 1)
	go func() {
		_, err := c.Receive(ctx)
		received <- err
	}()
	pinged := make(chan error, 2)
	for range 2 {
		go func() { pinged <- c.Ping(ctx) }()
	}
	pings := make([]byte, 20)
	_, err := io.ReadFull(right, pings)
	require.NoError(t, err)
	for _, pong := range []string{"", "unasked", strings.Repeat("\xff", 8), string(pings[12:])} {
		_, err = right.Write(masked(last(framing.Pong, pong)))
		require.NoError(t, err)
	}
	assert.NoError(t, <-pinged)
	assert.NoError(t, <-pinged)
	_, err = right.Write(last(framing.Text, ""))
	require.NoError(t, err)
	assert.NoError(t, <-received)
}

// countingStream is a stream whose writes stall, until they are let go, and are counted then.
type countingStream struct {
	net.Conn
	release chan struct{}
	wrote   chan struct{}
	bytes   atomic.Int64
}

func (s *countingStream) Write(p []byte) (int, error) {
	<-s.release
	s.bytes.Add(int64(len(p)))
	select {
	case s.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestPingFloodIsBounded(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	stream := &countingStream{Conn: left, release: make(chan struct{}), wrote: make(chan struct{}, 1)}
	c := framing.New(stream, framing.Options{})
	go func() {
		ping := last(framing.Ping, "12345678901234567890")
		for range 10_000 {
			_, _ = right.Write(ping)
		}
		_, _ = right.Write(last(framing.Text, "done"))
		_ = right.Close()
	}()
	_, err := c.Receive(limited(t))
	require.NoError(t, err)
	close(stream.release)
	<-stream.wrote // else the end of the stream could come before the first pong
	_, err = c.Receive(limited(t))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Error(t, c.Close(framing.CodeNormal, ""))
	assert.LessOrEqual(t, stream.bytes.Load(), int64(1000))
	assert.Positive(t, stream.bytes.Load())
}

// One pong stands for all pings before it, so the numbers of pings must go out in their order.
func TestPingsGoOutInOrder(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(left, framing.Options{})
	const count = 2000
	var pings sync.WaitGroup
	for range count {
		pings.Go(func() { _ = c.Ping(limited(t)) }) // ended by Close
	}
	d := framing.NewDecoder(0)
	for last := uint64(0); last < count; {
		m, ok, err := d.Next()
		require.NoError(t, err)
		if !ok {
			n, err := right.Read(d.Buffer())
			require.NoError(t, err)
			d.Advance(n)
			continue
		}
		number := binary.BigEndian.Uint64(m.Data)
		require.Equal(t, last+1, number)
		last = number
	}
	require.NoError(t, right.Close())
	_ = c.Close(framing.CodeNormal, "") // the stream has ended
	pings.Wait()
}
