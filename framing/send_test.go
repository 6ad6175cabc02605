package framing_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// fillUp sends to a peer that does not read until a Send has to wait, and returns how many did not.
func fillUp(t *testing.T, c *framing.Conn, m framing.Message) int {
	t.Helper()
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := c.SendMessage(ctx, m)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return n
		}
	}
}

func TestSendToSlowReaderIsBoundedAndWhole(t *testing.T) {
	t.Parallel()
	const size, queue = 1000, 100_000
	for name, hide := range map[string]bool{"a stream of the kernel": false, "another": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left, right := socketPair(t)
			require.NoError(t, left.(*net.UnixConn).SetWriteBuffer(10_000))
			stream := io.ReadWriteCloser(left)
			if hide {
				stream = plain{left}
			}
			a, b := framing.New(stream, framing.Options{MaxQueue: queue}), framing.New(right, framing.Options{})
			m := framing.Message{Type: framing.Binary, Data: make([]byte, size)}
			sent := fillUp(t, a, m)
			assert.GreaterOrEqual(t, sent, queue/size)
			assert.Less(t, sent, 3*queue/size, "queue, batch and socket")

			done := make(chan error, 1)
			ctx := limited(t)
			go func() { done <- a.Send(ctx, "last") }()
			for range sent {
				m, err := b.Receive(ctx)
				require.NoError(t, err)
				require.Len(t, m.Data, size)
			}
			last, err := b.Receive(ctx)
			require.NoError(t, err)
			assert.Equal(t, `"last"`, string(last.Data), "nothing of the Send that was cancelled")
			require.NoError(t, <-done)
			closeBoth(a, b)
		})
	}
}

// A Send whose own write blocks leaves the rest to a goroutine.
func TestSendIsNotHeldByTheStream(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	const size = 4 << 20 // more than a socket takes
	start := time.Now()
	require.NoError(t, a.Send(t.Context(), make([]byte, size)))
	assert.Less(t, time.Since(start), patient)
	m, err := b.Receive(limited(t))
	require.NoError(t, err)
	assert.Len(t, m.Data, size)
}

// A time-out would break a tls.Conn.
func TestSendOverTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil) // for its certificate
	server.Close()
	left, right := socketPair(t)
	a := framing.New(tls.Client(left, &tls.Config{InsecureSkipVerify: true}), framing.Options{})
	b := framing.New(tls.Server(right, &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS13}), framing.Options{})
	ctx := limited(t)
	const size = 4 << 20
	for range 3 {
		require.NoError(t, a.Send(ctx, make([]byte, size)))
		m, err := b.Receive(ctx)
		require.NoError(t, err)
		require.Len(t, m.Data, size)
	}
	closeBoth(a, b)
}

func TestSendWithContextDone(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, a.Send(ctx, 1), context.Canceled)
	require.NoError(t, a.Send(t.Context(), 2))
	m, err := b.Receive(limited(t))
	require.NoError(t, err)
	assert.Equal(t, "2", string(m.Data))
}

func TestMessagesAllocateNothing(t *testing.T) {
	a, b := pair(t, framing.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	encoded, err := framing.Encode("hello")
	require.NoError(t, err)
	m := framing.Message{Type: framing.Binary, Data: make([]byte, 64)}
	head := []byte("head")
	roundTrip := func() {
		require.NoError(t, a.SendMessage(ctx, m))
		got, err := b.Receive(ctx)
		require.NoError(t, err)
		require.NoError(t, b.SendMessage(ctx, got))
		require.NoError(t, b.SendEncoded(ctx, encoded))
		require.NoError(t, b.SendParts(ctx, framing.Bound{Queue: 1000}, framing.Text, head, m.Data))
		for range 3 {
			_, err = a.Receive(ctx)
			require.NoError(t, err)
		}
	}
	for range 100 {
		roundTrip()
	}
	assert.Zero(t, testing.AllocsPerRun(1000, roundTrip))
}
