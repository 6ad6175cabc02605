package reuseport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/reuseport"
)

// limit bounds every wait for an event.
const limit = await.Limit

var errRefused = errors.New("refused by the caller's Control")

func listen(t *testing.T, network, address string) *net.TCPListener {
	t.Helper()
	l, err := reuseport.Listen(t.Context(), network, address, reuseport.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func listenPacket(t *testing.T, network, address string) *net.UDPConn {
	t.Helper()
	c, err := reuseport.ListenPacket(t.Context(), network, address, reuseport.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// ordinary listens as a program does that shares nothing.
func ordinary(t *testing.T, network, address string) *net.TCPListener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), network, address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// setReuseAddr is a Control function.
func setReuseAddr(value int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		var optErr error
		err = c.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, value)
		})
		return errors.Join(err, optErr)
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, limit)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// option reads an integer socket option.
func option(t *testing.T, s syscall.Conn, level, name int) (value int) {
	t.Helper()
	c, err := s.SyscallConn()
	require.NoError(t, err)
	var optErr error
	require.NoError(t, c.Control(func(fd uintptr) { value, optErr = unix.GetsockoptInt(int(fd), level, name) }))
	require.NoError(t, optErr)
	return value
}

// spread dials until each of the listeners has accepted, and returns how many connections each one got of how many.
func spread(t *testing.T, address string, listeners []*net.TCPListener) (got []int, dialed int) {
	t.Helper()
	const enough = 1000 // one of 4 goes without with a probability of 10^-125
	accepted := make(chan int)
	var loops sync.WaitGroup
	for i, l := range listeners {
		loops.Go(func() { // ends when l is closed
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
				accepted <- i
			}
		})
	}
	got = make([]int, len(listeners))
	for missing := len(listeners); missing > 0 && dialed < enough; dialed++ {
		dial(t, address).Close()
		select {
		case i := <-accepted:
			if got[i]++; got[i] == 1 {
				missing--
			}
		case <-time.After(limit):
			require.FailNow(t, "nobody accepted")
		}
	}
	for _, l := range listeners {
		l.Close()
	}
	loops.Wait()
	return got, dialed
}

// asOther runs f on a thread of its own, which is discarded afterwards, so that f may change what the thread may do.
func asOther(f func()) {
	done := make(chan struct{})
	go func() { // ends with f
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// asNobody runs f on a thread with another uid, and skips the test where that is not allowed.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	const nobody = 65534
	if os.Getuid() != 0 {
		t.Skip("needs two uids: run as root")
	}
	asOther(func() {
		// The system call itself is for one thread; unix.Setresuid is for all.
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody)
		if assert.Zero(t, errno) {
			f()
		}
	})
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestListenSharesThePort(t *testing.T) {
	t.Parallel()
	tests := []struct{ network, address, member, client string }{
		{"tcp", "127.0.0.1:0", "", ""},
		{"tcp4", "127.0.0.1:0", "", ""},
		{"tcp", "[::1]:0", "", ""},
		{"tcp6", "[::1]:0", "", ""},
		{"tcp", ":0", "", "127.0.0.1"},
		{"tcp", "[::]:0", "", "127.0.0.1"},
		{"tcp", "0.0.0.0:0", "", "::1"},
		{"tcp4", ":0", "", "127.0.0.1"},
		{"tcp6", ":0", "", "::1"},
	}
	for _, tt := range tests {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			t.Parallel()
			first := listen(t, tt.network, tt.address)
			members := []*net.TCPListener{first}
			for range 3 {
				members = append(members, listen(t, tt.network, first.Addr().String()))
			}
			client := first.Addr().String()
			if tt.client != "" {
				_, port, err := net.SplitHostPort(client)
				require.NoError(t, err)
				client = net.JoinHostPort(tt.client, port)
			}
			got, dialed := spread(t, client, members)
			assert.NotContains(t, got, 0, "after %d connections", dialed)
		})
	}
}

// The steering of connections attaches a program to the group, which the kernel allows on plain TCP only.
func TestListenIsPlainTCP(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	assert.Equal(t, unix.IPPROTO_TCP, option(t, l, unix.SOL_SOCKET, unix.SO_PROTOCOL))
}

func TestListenRefusesAnOrdinaryServer(t *testing.T) {
	t.Parallel()
	server := ordinary(t, "tcp", "127.0.0.1:0")
	_, err := reuseport.Listen(t.Context(), "tcp", server.Addr().String(), reuseport.Options{})
	var opErr *net.OpError
	require.ErrorAs(t, err, &opErr)
	var callErr *os.SyscallError
	require.ErrorAs(t, err, &callErr)
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
}

func TestListenControl(t *testing.T) {
	t.Parallel()
	var calls []string
	opts := reuseport.Options{Control: func(network, _ string, c syscall.RawConn) error {
		calls = append(calls, network)
		return c.Control(func(fd uintptr) {
			shared, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT)
			require.NoError(t, err)
			assert.Equal(t, 1, shared, "the port is shared before the caller's Control is called")
			assert.NoError(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, 5))
		})
	}}
	l, err := reuseport.Listen(t.Context(), "tcp", "127.0.0.1:0", opts)
	require.NoError(t, err)
	defer l.Close()
	c, err := reuseport.ListenPacket(t.Context(), "udp", "[::1]:0", opts)
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, []string{"tcp4", "udp6"}, calls)
	assert.Equal(t, 5, option(t, l, unix.SOL_SOCKET, unix.SO_PRIORITY))
	assert.Equal(t, 5, option(t, c, unix.SOL_SOCKET, unix.SO_PRIORITY))
}

// keepAlive returns the options of a connection that a listener accepts: on or off, idle, interval and count.
func keepAlive(t *testing.T, l *net.TCPListener) (values [4]int) {
	t.Helper()
	dial(t, l.Addr().String())
	c, err := l.AcceptTCP()
	require.NoError(t, err)
	defer c.Close()
	values[0] = option(t, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	for i, name := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT} {
		values[i+1] = option(t, c, unix.IPPROTO_TCP, name)
	}
	return values
}

// An accepted connection has keep-alive as one of net's has, or what Control says, and no system call is spent on it.
func TestListenKeepAlive(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		assert.Equal(t, keepAlive(t, ordinary(t, "tcp", address)), keepAlive(t, listen(t, "tcp", address)))
	}
	opts := reuseport.Options{Control: func(_, _ string, c syscall.RawConn) (err error) {
		var optErr error
		err = c.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77)
		})
		return errors.Join(err, optErr)
	}}
	l, err := reuseport.Listen(t.Context(), "tcp", "127.0.0.1:0", opts)
	require.NoError(t, err)
	defer l.Close()
	assert.Equal(t, 77, keepAlive(t, l)[1])
}

func TestListenErrorLeavesNothingOpen(t *testing.T) {
	server := ordinary(t, "tcp", "127.0.0.1:0")
	refuse := reuseport.Options{Control: func(string, string, syscall.RawConn) error { return errRefused }}
	before := openDescriptors(t)

	_, err := reuseport.Listen(t.Context(), "tcp", "127.0.0.1:0", refuse)
	require.ErrorIs(t, err, errRefused)
	var opErr *net.OpError
	require.ErrorAs(t, err, &opErr)
	_, err = reuseport.ListenPacket(t.Context(), "udp", "127.0.0.1:0", refuse)
	require.ErrorIs(t, err, errRefused)
	_, err = reuseport.Listen(t.Context(), "tcp", server.Addr().String(), reuseport.Options{})
	require.ErrorIs(t, err, syscall.EADDRINUSE)

	assert.Equal(t, before, openDescriptors(t))
}

// TestEndedContext: a context ends the resolution of a name, which may be done before that is seen.
func TestEndedContext(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, do := range map[string]func() (io.Closer, error){
		"listen":  func() (io.Closer, error) { return reuseport.Listen(ended, "tcp", "localhost:0", reuseport.Options{}) },
		"reserve": func() (io.Closer, error) { return reuseport.Reserve(ended, "tcp", "localhost:0") },
		"owners": func() (io.Closer, error) {
			_, err := reuseport.Owners(ended, "tcp", "localhost:1")
			return io.NopCloser(nil), err
		},
	} {
		require.Eventually(t, func() bool {
			closer, err := do()
			if err == nil {
				assert.NoError(t, closer.Close())
				return false
			}
			return assert.ErrorIs(t, err, context.Canceled)
		}, await.Limit, time.Millisecond, name)
	}
}

func TestListenPacketSharesThePort(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			const enough = 1000
			first := listenPacket(t, "udp", address)
			second := listenPacket(t, "udp", first.LocalAddr().String())
			got := make(chan *net.UDPConn)
			var loops sync.WaitGroup
			for _, c := range []*net.UDPConn{first, second} {
				loops.Go(func() { // ends when c is closed
					for {
						if _, err := c.Read(make([]byte, 1)); err != nil {
							return
						}
						got <- c
					}
				})
			}
			members := make(map[*net.UDPConn]bool)
			for sent := 0; len(members) < 2 && sent < enough; sent++ {
				c, err := net.Dial("udp", first.LocalAddr().String())
				require.NoError(t, err)
				_, err = c.Write([]byte{1})
				require.NoError(t, err)
				c.Close()
				select {
				case member := <-got:
					members[member] = true
				case <-time.After(limit):
					require.FailNow(t, "nobody received")
				}
			}
			assert.Len(t, members, 2)
			first.Close()
			second.Close()
			loops.Wait()
		})
	}
}

// Two UDP sockets with SO_REUSEADDR share a port even if different users own them.
func TestListenPacketRefusesReuseAddr(t *testing.T) {
	t.Parallel()
	c := listenPacket(t, "udp", "127.0.0.1:0")
	stranger := net.ListenConfig{Control: setReuseAddr(1)}
	s, err := stranger.ListenPacket(t.Context(), "udp", c.LocalAddr().String())
	if err == nil {
		s.Close()
	}
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
}

func TestListenPacketMulticast(t *testing.T) {
	t.Parallel()
	c := listenPacket(t, "udp4", "224.0.0.251:0")
	assert.Equal(t, 1, option(t, c, unix.SOL_SOCKET, unix.SO_REUSEADDR), "net sets it for multicast")
}

func TestIntegrationListenOfAnotherUID(t *testing.T) {
	t.Parallel()
	tcp := listen(t, "tcp", "127.0.0.1:0")
	udp := listenPacket(t, "udp", "127.0.0.1:0")
	var tcpErr, udpErr error
	asNobody(t, func() {
		_, tcpErr = reuseport.Listen(t.Context(), "tcp", tcp.Addr().String(), reuseport.Options{})
		_, udpErr = reuseport.ListenPacket(t.Context(), "udp", udp.LocalAddr().String(), reuseport.Options{})
	})
	require.ErrorIs(t, tcpErr, syscall.EADDRINUSE)
	assert.ErrorIs(t, udpErr, syscall.EADDRINUSE)
}
