package ways

import (
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"
)

// passing is a passer and its only worker, in this process.
type passing struct {
	*passer
	*receiver
	*channel
}

func newPassing(tb testing.TB, addr string) passing {
	tb.Helper()
	p, err := newPasser(addr, true)
	require.NoError(tb, err)
	s, files, err := p.channel()
	require.NoError(tb, err)
	kept, err := openTally(files[1])
	require.NoError(tb, err)
	require.NoError(tb, files[1].Close())
	r := newReceiver(files[0], p.bound, kept)
	s.open()
	tb.Cleanup(func() {
		require.NoError(tb, r.Close())
		s.close()
		kept.unmap()
		require.NoError(tb, p.close())
	})
	return passing{p, r, s}
}

// connect returns both ends of a connection.
func (p passing) connect(tb testing.TB) (accepted, client net.Conn) {
	tb.Helper()
	client, err := new(net.Dialer).DialContext(tb.Context(), "tcp", p.bound.String())
	require.NoError(tb, err)
	accepted, err = p.Accept()
	require.NoError(tb, err)
	return accepted, client
}

// connections returns how many the master thinks that its worker has.
func (p passing) connections() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live()
}

// TestConn holds the promises of net.Conn for what was accepted elsewhere.
func TestConn(t *testing.T) {
	p := newPassing(t, "127.0.0.1:0")
	nettest.TestConn(t, func() (accepted, client net.Conn, stop func(), err error) {
		accepted, client = p.connect(t)
		return accepted, client, func() { _, _ = accepted.Close(), client.Close() }, nil
	})
}

func TestConnAddr(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		p := newPassing(t, addr)
		accepted, client := p.connect(t)
		assert.Equal(t, client.LocalAddr(), accepted.RemoteAddr())
		assert.Equal(t, client.RemoteAddr(), accepted.LocalAddr())
		assert.EqualValues(t, 1, p.connections())
		require.NoError(t, accepted.(*conn).CloseWrite())
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, accepted.Close())
		require.ErrorIs(t, accepted.Close(), net.ErrClosed)
		assert.EqualValues(t, 0, p.connections(), "it counts once")
		require.NoError(t, client.Close())
	}
}

// TestConnOptions compares with what net makes of a connection.
func TestConnOptions(t *testing.T) {
	p := newPassing(t, "127.0.0.1:0")
	accepted, client := p.connect(t)
	defer func() { _, _ = accepted.Close(), client.Close() }()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client2, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	defer client2.Close()
	usual, err := l.Accept()
	require.NoError(t, err)
	defer usual.Close()
	assert.Equal(t, options(t, usual.(*net.TCPConn)), options(t, accepted.(*conn).File))
}

func options(t *testing.T, c syscall.Conn) map[string]int {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	values := make(map[string]int)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for name, o := range map[string][2]int{
			"TCP_NODELAY": {unix.IPPROTO_TCP, unix.TCP_NODELAY}, "SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
			"TCP_KEEPIDLE": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, "TCP_KEEPINTVL": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
			"TCP_KEEPCNT": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, "SO_SNDBUF": {unix.SOL_SOCKET, unix.SO_SNDBUF},
			"SO_RCVBUF": {unix.SOL_SOCKET, unix.SO_RCVBUF},
		} {
			value, err := unix.GetsockoptInt(int(fd), o[0], o[1])
			assert.NoError(t, err, name)
			values[name] = value
		}
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		assert.NoError(t, err)
		values["O_NONBLOCK"] = flags & unix.O_NONBLOCK
		flags, err = unix.FcntlInt(fd, unix.F_GETFD, 0)
		assert.NoError(t, err)
		values["FD_CLOEXEC"] = flags & unix.FD_CLOEXEC
	}))
	return values
}
