package reuseport

import (
	"context"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/await"
)

// patience bounds every wait for an event.
const patience = await.Limit

// DrainInVain drains a listener that keeps something until the context ends, and returns the error that says what is left.
// On a machine so busy that the barrier takes longer than the context, it tries again with more time.
func DrainInVain(t *testing.T, l syscall.Conn, left string) DrainStats {
	t.Helper()
	for tooShort := 200 * time.Millisecond; ; tooShort *= 4 {
		ctx, cancel := context.WithTimeout(t.Context(), tooShort)
		begin := time.Now()
		stats, err := Drain(ctx, l)
		took := time.Since(begin)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		if !strings.Contains(err.Error(), left) && tooShort < patience/4 {
			continue
		}
		require.ErrorContains(t, err, left)
		assert.Positive(t, stats.Took)
		assert.LessOrEqual(t, stats.Took, took)
		return stats
	}
}

// deferred listens so that a handshake ends when the client has sent something (TCP_DEFER_ACCEPT): until then the client
// takes it for established, and the kernel for a request.
func deferred(t *testing.T, network, address string) *net.TCPListener {
	t.Helper()
	l, err := Listen(t.Context(), network, address, Options{Control: func(_, _ string, c syscall.RawConn) error {
		var optErr error
		err := c.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, int(patience.Seconds()))
		})
		if err != nil {
			return err
		}
		return optErr
	}})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func half(t *testing.T, l *net.TCPListener, host string) net.Conn {
	t.Helper()
	address := net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	c, err := net.DialTimeout("tcp", address, patience)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func finish(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Write([]byte{1})
	require.NoError(t, err)
}

// Requests have the family of their listener, so that each is seen, also that of an IPv4 client of a dual-stack one.
func TestDrainWaitsForHandshakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, network, address, host string }{
		{"IPv4", "tcp", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "tcp", "[::1]:0", "::1"},
		{"dual stack over IPv4", "tcp", ":0", "127.0.0.1"},
		{"dual stack over IPv6", "tcp", ":0", "::1"},
		{"IPv6 only", "tcp6", ":0", "::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := deferred(t, tt.network, tt.address)
			client := half(t, l, tt.host)
			pending, err := handshakesOf(l)
			require.NoError(t, err)
			require.Len(t, pending, 1)
			for h := range pending {
				assert.Equal(t, client.LocalAddr().String(), unmap(h.remote).String())
			}

			stats := DrainInVain(t, l, "1 handshakes and 0 connections")
			assert.Equal(t, 1, stats.Handshakes)

			done := make(chan error, 1)
			go func() { // ends when the handshake has, and its connection has been accepted
				_, err := Drain(t.Context(), l)
				done <- err
			}()
			finish(t, client)
			c, err := l.Accept()
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, <-done)
		})
	}
}

// Handshakes that begin later belong to other members.
func TestDrainDoesNotWaitForNewHandshakes(t *testing.T) {
	t.Parallel()
	l := deferred(t, "tcp", "127.0.0.1:0")
	old := half(t, l, "127.0.0.1")
	pending, err := handshakesOf(l)
	require.NoError(t, err)
	half(t, l, "127.0.0.1")
	finish(t, old)
	require.NoError(t, awaitHandshakes(t.Context(), l, pending))
	left, err := handshakesOf(l)
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

// Where the kernel refuses membarrier, ctx ends the wait.
func TestBarrierEnds(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, barrier(ended), context.Canceled)
}
