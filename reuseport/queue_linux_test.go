package reuseport_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

// requireLength waits until the queue has a length: a client's connect returns before its ACK has been processed.
func requireLength(t *testing.T, l syscall.Conn, length int) {
	t.Helper()
	require.Eventually(t, func() bool {
		stats, err := reuseport.Queue(l)
		return err == nil && stats.Length == length
	}, limit, time.Millisecond)
}

func TestQueue(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			somaxconn, err := os.ReadFile("/proc/sys/net/core/somaxconn")
			require.NoError(t, err)
			backlog, err := strconv.Atoi(strings.TrimSpace(string(somaxconn)))
			require.NoError(t, err)

			l := listen(t, "tcp", address)
			stats, err := reuseport.Queue(l)
			require.NoError(t, err)
			assert.Equal(t, reuseport.QueueStats{Length: 0, Limit: backlog}, stats)
			const waiting = 5
			for range waiting {
				dial(t, l.Addr().String())
			}
			requireLength(t, l, waiting)
			for left := waiting - 1; left >= 0; left-- {
				c, err := l.Accept()
				require.NoError(t, err)
				c.Close()
				requireLength(t, l, left)
			}
		})
	}
}

func TestQueueHoldsOneMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	const backlog = 3
	l := listen(t, "tcp", "127.0.0.1:0")
	c, err := l.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, c.Control(func(fd uintptr) { assert.NoError(t, unix.Listen(int(fd), backlog)) }))
	for range backlog + 1 {
		dial(t, l.Addr().String())
	}
	requireLength(t, l, backlog+1)
	stats, err := reuseport.Queue(l)
	require.NoError(t, err)
	assert.Equal(t, backlog, stats.Limit)
}

func TestQueueErrors(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	client := dial(t, l.Addr().String())
	_, err := reuseport.Queue(client.(*net.TCPConn))
	require.ErrorIs(t, err, syscall.EINVAL, "a connection")

	_, err = reuseport.Queue(listenPacket(t, "udp", "127.0.0.1:0"))
	var callErr *os.SyscallError
	require.ErrorAs(t, err, &callErr, "a UDP socket")

	require.NoError(t, l.Close())
	_, err = reuseport.Queue(l)
	assert.ErrorIs(t, err, net.ErrClosed)
}
