package serve

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/serve/servetest"
	"github.com/multinode-go/multinode/internal/await"
)

// moment bounds a wait that is to fail.
const moment = 50 * time.Millisecond

func newTestAcceptor(t *testing.T, address string) *Acceptor {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	a := NewAcceptor(l)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	return a
}

func TestAcceptorIsOnlyAListener(t *testing.T) {
	var l net.Listener = newTestAcceptor(t, "127.0.0.1:0")
	_, ok := l.(interface{ SetDeadline(t time.Time) error })
	assert.False(t, ok, "its deadline belongs to poke")
}

func TestPokeWakesABlockedAccept(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	servetest.AcceptAll(t, a)
	for range 100 {
		require.NoError(t, a.Poke(t.Context()))
	}
	assert.NoError(t, servetest.Visit(a.Addr()))
}

func TestPokeCountsTheNextAccept(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	poked := make(chan error)
	go func() { poked <- a.Poke(t.Context()) }()
	assert.Eventually(t, a.isPoked, await.Limit, time.Millisecond)
	servetest.AcceptAll(t, a)
	require.NoError(t, <-poked)
	assert.NoError(t, servetest.Visit(a.Addr()), "the deadline is gone")
}

func (a *Acceptor) isPoked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.passed) > 0
}

func TestPokeWithoutAnAcceptLoop(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	err := a.Poke(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no goroutine has begun to accept")
	assert.False(t, a.isPoked(), "nothing is kept")
	servetest.AcceptAll(t, a)
	assert.NoError(t, servetest.Visit(a.Addr()))
}

func TestPokeOfALoopThatIsStuck(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	stuck, freed := make(chan struct{}), make(chan struct{})
	var loop sync.WaitGroup
	loop.Go(func() {
		conn, err := a.Accept()
		if assert.NoError(t, err) {
			defer conn.Close()
		}
		close(stuck)
		<-freed
		_, err = a.Accept()
		assert.ErrorIs(t, err, net.ErrClosed)
	})
	conn, err := net.Dial("tcp", a.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	<-stuck
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), moment)
		err = a.Poke(ctx)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "does not return to Accept")
	}
	close(freed)
	assert.NoError(t, a.Poke(t.Context()))
	require.NoError(t, a.Close())
	loop.Wait()
}

// TestPokeOfAFullLimit: a loop that waits for a place below the limit is not in our Accept.
func TestPokeOfAFullLimit(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	l := servetest.NewLimitListener(a, 1)
	conns := make(chan net.Conn)
	var loop sync.WaitGroup
	loop.Go(func() {
		defer close(conns)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	})
	conn, err := net.Dial("tcp", a.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	accepted := <-conns
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	require.ErrorIs(t, a.Poke(ctx), context.DeadlineExceeded)

	require.NoError(t, accepted.Close())
	assert.NoError(t, a.Poke(t.Context()), "there is a place again")
	require.NoError(t, l.Close())
	loop.Wait()
}

func TestPokeAfterClose(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	poked := make(chan error)
	go func() { poked <- a.Poke(t.Context()) }()
	assert.Eventually(t, a.isPoked, await.Limit, time.Millisecond)
	require.NoError(t, a.Close())
	require.ErrorIs(t, <-poked, net.ErrClosed)
	require.ErrorIs(t, a.Poke(t.Context()), net.ErrClosed)
	require.NoError(t, a.Close(), "a second time")
	_, err := a.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

// TestPokeWithoutDeadlines: an idle listener has none, so only a new Accept counts.
func TestPokeWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAcceptor(NewIdleListener(new(net.TCPAddr)))
		servetest.AcceptAll(t, a)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		assert.ErrorIs(t, a.Poke(ctx), context.DeadlineExceeded)
	})
}

// TestPokeUnderLoad: thousands of connections while many poke all the time; none is lost, and none waits.
func TestPokeUnderLoad(t *testing.T) {
	const clients, visits, pokers = 8, 500, 4
	a := newTestAcceptor(t, "127.0.0.1:0")
	accepted := servetest.AcceptAll(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	var poking, visiting sync.WaitGroup
	var pokes, slowest atomic.Int64
	for range pokers {
		poking.Go(func() {
			for ctx.Err() == nil {
				if err := a.Poke(ctx); ctx.Err() == nil {
					assert.NoError(t, err)
					pokes.Add(1)
				}
				time.Sleep(10 * time.Microsecond) // or one processor would have no time to look at the network
			}
		})
	}
	for range clients {
		visiting.Go(func() {
			for range visits {
				begin := time.Now()
				if err := servetest.Visit(a.Addr()); err != nil {
					t.Error(err)
					return
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(begin)))) // about: two may store at once
			}
		})
	}
	visiting.Wait()
	cancel()
	poking.Wait()
	assert.EqualValues(t, clients*visits, accepted.Load())
	assert.Greater(t, pokes.Load(), int64(visits), "they did poke")
	t.Logf("%d pokes, the slowest of %d connections took %v", pokes.Load(), clients*visits, time.Duration(slowest.Load()))
}

// TestPokeOfManyLoops: each accept loop is woken, and all continue.
func TestPokeOfManyLoops(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	for range 4 {
		servetest.AcceptAll(t, a)
	}
	for range 500 {
		require.NoError(t, a.Poke(t.Context()))
		require.NoError(t, servetest.Visit(a.Addr()))
	}
}

// probe makes a probe connection: its source is known before.
func probe(t *testing.T, addr net.Addr, expect func(source netip.AddrPort)) net.Conn {
	t.Helper()
	target := addr.(*net.TCPAddr)
	host := "127.0.0.1"
	if target.IP.To4() == nil && !target.IP.IsUnspecified() {
		host = "::1"
	}
	free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	source := free.Addr().(*net.TCPAddr)
	require.NoError(t, free.Close())
	expect(source.AddrPort())
	dialer := &net.Dialer{LocalAddr: source, Timeout: await.Limit}
	conn, err := dialer.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(target.Port)))
	require.NoError(t, err)
	return conn
}

func TestExpectedConnectionIsKeptFromTheServer(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} { // the last has mapped addresses
		t.Run(address, func(t *testing.T) {
			a := newTestAcceptor(t, address)
			accepted := servetest.AcceptAll(t, a)
			var arrived *Arrival
			conn := probe(t, a.Addr(), func(source netip.AddrPort) {
				arrived = a.Expect(source)
				assert.Same(t, arrived, a.Expect(source), "the same probe connection")
			})
			defer conn.Close()
			select {
			case <-arrived.Done():
			case <-time.After(await.Limit):
				require.Fail(t, "the probe connection was not seen")
			}
			require.NoError(t, conn.SetDeadline(time.Now().Add(await.Limit)))
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			assert.Empty(t, answer)
			assert.Zero(t, accepted.Load(), "the server has not seen it")
			assert.Zero(t, a.expecting.Load())
		})
	}
}

func TestForgottenConnectionIsServed(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	accepted := servetest.AcceptAll(t, a)
	other := a.Expect(netip.MustParseAddrPort("127.0.0.1:1"))
	conn := probe(t, a.Addr(), func(source netip.AddrPort) {
		a.Expect(source)
		a.Forget(source)
		a.Forget(source) // twice does no harm
	})
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(await.Limit)))
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, conn.LocalAddr().String(), string(answer))
	assert.EqualValues(t, 1, accepted.Load())
	assert.EqualValues(t, 1, a.expecting.Load())
	select {
	case <-other.Done():
		assert.Fail(t, "no connection came from there")
	default:
	}
}

// TestExpectBehindALimit: a probe connection takes no place below a limit that the user has put around the listener.
func TestExpectBehindALimit(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	servetest.AcceptAll(t, servetest.NewLimitListener(a, 1))
	for range 3 {
		var arrived *Arrival
		conn := probe(t, a.Addr(), func(source netip.AddrPort) { arrived = a.Expect(source) })
		<-arrived.Done()
		require.NoError(t, conn.Close())
	}
	assert.NoError(t, servetest.Visit(a.Addr()))
}

// BenchmarkAccept measures how much an Acceptor adds to an Accept.
func BenchmarkAccept(b *testing.B) {
	for name, l := range map[string]net.Listener{"bare": instantListener{}, "acceptor": NewAcceptor(instantListener{})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = l.Accept()
			}
		})
	}
}

// instantListener always has a connection.
type instantListener struct{ net.Listener }

func (instantListener) Accept() (net.Conn, error) { return nil, nil }

func TestAcceptorSuspended(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	accepted := servetest.AcceptAll(t, a)
	require.NoError(t, servetest.Visit(a.Addr()))
	require.NoError(t, a.Suspend())
	require.ErrorIs(t, a.Suspend(), net.ErrClosed)
	require.ErrorIs(t, a.Poke(t.Context()), net.ErrClosed)
	next, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, a.Resume(next))
	require.NoError(t, servetest.Visit(next.Addr()))
	require.NoError(t, a.Poke(t.Context()))
	assert.EqualValues(t, 2, accepted.Load())
	require.NoError(t, a.Suspend())
	require.NoError(t, a.Close(), "and Accept returns")
	late, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.ErrorIs(t, a.Resume(late), net.ErrClosed)
	assert.Error(t, servetest.Visit(late.Addr()), "it is closed, too")
}
