package reuseport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

func ask(t *testing.T, l net.Listener) *reuseport.Question {
	t.Helper()
	q, err := reuseport.NewQuestion(t.Context(), l.Addr().(*net.TCPAddr))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, q.Close()) })
	return q
}

func accept(t *testing.T, l *net.TCPListener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func addrPort(t *testing.T, addr net.Addr) netip.AddrPort {
	t.Helper()
	a := addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Each index answers, over each family, and even if it has no weight.
func TestQuestion(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			const n = 4
			members, _ := k.members(t, n)
			weights := make([]uint32, n)
			weights[1] = 1
			for i, member := range members {
				q := ask(t, member)
				require.NoError(t, reuseport.Attach(members[0], reuseport.Steering{
					Weights: weights,
					Mark:    &reuseport.Mark{Port: q.Port(), Index: i},
				}))
				require.NoError(t, q.Connect(t.Context()))
				c := accept(t, member)
				assert.Equal(t, q.Source(), addrPort(t, c.RemoteAddr()))
				assert.Equal(t, q.Target(), addrPort(t, c.LocalAddr()))
				assert.Equal(t, q.Port(), q.Source().Port())
				require.NoError(t, q.Close())
				require.NoError(t, q.Close())
				_, err := c.Read(make([]byte, 1))
				assert.ErrorIs(t, err, syscall.ECONNRESET)
			}
		})
	}
}

// The source port is where the length of the header says, and not always after 20 bytes.
func TestMarkWithIPOptions(t *testing.T) {
	t.Parallel()
	members, client := kinds[0].members(t, 2)
	for _, options := range []string{"\x01\x01\x01\x01", "\x07\x27\x04" + string(make([]byte, 36)) + "\x00"} {
		q := ask(t, members[0]) // for a free port
		require.NoError(t, q.Close())
		require.NoError(t, reuseport.Attach(members[0], reuseport.Steering{
			Weights: []uint32{1, 0},
			Mark:    &reuseport.Mark{Port: q.Port(), Index: 1},
		}))
		dialer := net.Dialer{
			LocalAddr: net.TCPAddrFromAddrPort(q.Source()),
			Timeout:   limit,
			Control: func(_, _ string, c syscall.RawConn) error {
				var optErr error
				err := c.Control(func(fd uintptr) {
					optErr = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, options)
				})
				if err != nil {
					return err
				}
				return optErr
			},
		}
		c, err := dialer.DialContext(t.Context(), "tcp", client)
		require.NoError(t, err)
		c.(*net.TCPConn).SetLinger(0)
		t.Cleanup(func() { c.Close() })
		assert.Equal(t, q.Source(), addrPort(t, accept(t, members[1]).RemoteAddr()))
	}
}

func TestQuestionWithoutConnect(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	q := ask(t, l)
	require.NoError(t, q.Close())
	require.ErrorContains(t, q.Connect(t.Context()), "closed")
	stats, err := reuseport.Queue(l)
	require.NoError(t, err)
	assert.Zero(t, stats.Length)
}

func TestQuestionLeavesNothing(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	q := ask(t, l)
	require.NoError(t, q.Connect(t.Context()))
	c := accept(t, l)
	require.NoError(t, q.Close())
	c.Read(make([]byte, 1)) // the reset
	c.Close()
	// A bind without SO_REUSEADDR finds the port free.
	free, err := (&net.ListenConfig{Control: setReuseAddr(0)}).Listen(t.Context(), "tcp", q.Source().String())
	require.NoError(t, err)
	free.Close()
}

func TestQuestionRefused(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	q := ask(t, l)
	require.NoError(t, l.Close())
	assert.ErrorIs(t, q.Connect(t.Context()), syscall.ECONNREFUSED)
}

// The SYN is dropped, so that only ctx ends the call.
func TestQuestionToAFullQueue(t *testing.T) {
	t.Parallel()
	l := fullListener(t)
	ended, cancel := context.WithCancel(t.Context())
	q := ask(t, l)
	done := make(chan error, 1)
	go func() { done <- q.Connect(ended) }() // ends with cancel
	requireSynSent(t, q)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	closed := ask(t, l)
	go func() { done <- closed.Connect(t.Context()) }() // ends with Close
	requireSynSent(t, closed)
	require.NoError(t, closed.Close())
	assert.ErrorContains(t, <-done, "closed")
}

func TestQuestionErrors(t *testing.T) {
	before := openDescriptors(t)
	for _, target := range []string{"127.0.0.1:0", "203.0.113.1:80"} {
		_, err := reuseport.NewQuestion(t.Context(), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(target)))
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	}
	_, err := reuseport.NewQuestion(t.Context(), nil)
	require.Error(t, err)
	assert.Equal(t, before, openDescriptors(t))
}

// fullListener drops each SYN.
func fullListener(t *testing.T) *net.TCPListener {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
	c, err := l.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, c.Control(func(fd uintptr) { assert.NoError(t, unix.Listen(int(fd), 0)) }))
	dial(t, l.Addr().String())
	requireLength(t, l, 1)
	return l
}

// requireSynSent waits until a question over IPv4 has sent its SYN.
func requireSynSent(t *testing.T, q *reuseport.Question) {
	t.Helper()
	const synSent = "02"
	local := fmt.Sprintf("0100007F:%04X", q.Port())
	require.Eventually(t, func() bool {
		table, err := os.ReadFile("/proc/thread-self/net/tcp") // /proc/net is that of the main thread
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 3 && f[1] == local && f[3] == synSent {
				return true
			}
		}
		return false
	}, limit, time.Millisecond)
}

// A server that knows nothing of questions reads the end of the connection, and no error.
func TestQuestionFinishIsNoReset(t *testing.T) {
	t.Parallel()
	for name, greeting := range map[string]string{"silent": "", "that speaks first": "220 ready\r\n"} {
		t.Run("server "+name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, "tcp", "127.0.0.1:0")
			read, closed := make(chan error, 1), make(chan struct{})
			go func() { // ends when the question does
				defer close(closed)
				c, err := l.Accept()
				if err == nil {
					_, err = c.Write([]byte(greeting))
				}
				if err == nil {
					_, err = io.ReadAll(c) // nil for EOF
				}
				read <- errors.Join(err, c.Close())
			}()
			q := ask(t, l)
			require.NoError(t, q.Connect(t.Context()))
			require.NoError(t, q.Finish(t.Context()))
			require.NoError(t, <-read)
			<-closed
			require.NoError(t, q.Finish(t.Context()))
			require.NoError(t, q.Close())
		})
	}
}

// A server that does not close does not hold it up, and still gets no reset.
func TestQuestionFinishEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	q := ask(t, l)
	require.NoError(t, q.Connect(t.Context()))
	c := accept(t, l)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, q.Finish(ended))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestQuestionFinishWithoutConnect(t *testing.T) {
	t.Parallel()
	q := ask(t, listen(t, "tcp", "127.0.0.1:0"))
	require.NoError(t, q.Finish(t.Context()))
	assert.ErrorContains(t, q.Connect(t.Context()), "closed")
}
