package localhttp

import (
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connected opens a connection, and returns its two ends.
func connected(t *testing.T, h *handshakes, l *net.UnixListener) (client net.Conn, conn *ownConn) {
	t.Helper()
	client, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	server, err := l.AcceptUnix()
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return client, &ownConn{UnixConn: server, shakes: h}
}

// A connection whose request has come keeps its place, whether it was read or answered or not, as long as that takes. The other
// connections give way, the oldest first, and are not answered any more.
func TestHandshakesGiveWay(t *testing.T) {
	h, clients, conns := newHandshakes(), make([]net.Conn, MaxHandshakes), make([]*ownConn, MaxHandshakes)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s")})
	require.NoError(t, err)
	defer l.Close()
	const answered, understood, whole, half = 0, 1, 2, 3
	for i := range conns {
		clients[i], conns[i] = connected(t, h, l)
		require.True(t, h.enter(conns[i], nil))
	}
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	read := func(conn *ownConn, pieces ...int) {
		for _, piece := range pieces {
			_, err := io.ReadFull(conn, make([]byte, piece))
			require.NoError(t, err)
		}
	}
	for _, i := range []int{answered, understood, whole} {
		_, err = io.WriteString(clients[i], request)
		require.NoError(t, err)
	}
	_, err = io.WriteString(clients[half], request[:len(request)-1])
	require.NoError(t, err)
	read(conns[answered], len(request))
	require.True(t, h.ask(conns[answered]))
	read(conns[understood], 17, 9, 1) // by the server, which has lost the CPU then
	read(conns[half], len(request)-1)

	assert.Equal(t, grace, h.evict(h.conns[0].begin), "they have their grace")
	assert.True(t, h.ask(conns[half+1]))
	h.unask(conns[half+1])
	h.evict(time.Now().Add(time.Minute))
	oldest := half
	if runtime.GOOS != "linux" { // where unread bytes cannot be seen
		oldest = whole
	}
	for i, conn := range conns {
		keeps := i < oldest || i >= oldest+maxEvictions
		require.Equal(t, keeps, h.ask(conn), i)
		if !keeps {
			answer, err := io.ReadAll(clients[i])
			require.NoError(t, err)
			assert.Contains(t, string(answer), "503 Service Unavailable")
		}
		h.leave(conn)
	}
	assert.Empty(t, h.places)
	assert.Empty(t, h.conns)
}

func TestHandshakesEnterUntilClose(t *testing.T) {
	h := newHandshakes()
	for range MaxHandshakes {
		h.places <- struct{}{}
	}
	closing := make(chan struct{})
	close(closing)
	assert.False(t, h.enter(nil, closing))
}
