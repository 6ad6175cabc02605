package cluster

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

	"github.com/multinode-go/multinode/internal/await"
)

// longest bounds a wait for an event, and moment one that is to fail.
const (
	longest = await.Limit
	moment  = 50 * time.Millisecond
)

func newTestAcceptor(t *testing.T, address string) *acceptor {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	a := newAcceptor(l)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	return a
}

// acceptAll accepts with l until it is closed, and answers each connection with what it is.
func acceptAll(t *testing.T, l net.Listener) (accepted *atomic.Int64) {
	t.Helper()
	accepted = new(atomic.Int64)
	var loop sync.WaitGroup
	loop.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				assert.ErrorIs(t, err, net.ErrClosed)
				return
			}
			accepted.Add(1)
			_, err = io.WriteString(conn, conn.RemoteAddr().String())
			assert.NoError(t, err)
			assert.NoError(t, conn.Close())
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		loop.Wait()
	})
	return accepted
}

// visit makes a connection and returns an error unless it is answered.
func visit(addr net.Addr) error {
	conn, err := net.DialTimeout(addr.Network(), addr.String(), longest)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(longest)); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if string(answer) != conn.LocalAddr().String() {
		return fmt.Errorf("%v was answered %q", conn.LocalAddr(), answer)
	}
	return nil
}

func TestAcceptorIsOnlyAListener(t *testing.T) {
	var l net.Listener = newTestAcceptor(t, "127.0.0.1:0")
	_, ok := l.(interface{ SetDeadline(t time.Time) error })
	assert.False(t, ok, "its deadline belongs to poke")
}

func TestPokeWakesABlockedAccept(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	acceptAll(t, a)
	for range 100 {
		require.NoError(t, a.poke(t.Context()))
	}
	assert.NoError(t, visit(a.Addr()))
}

func TestPokeCountsTheNextAccept(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	poked := make(chan error)
	go func() { poked <- a.poke(t.Context()) }()
	assert.Eventually(t, a.isPoked, longest, time.Millisecond)
	acceptAll(t, a)
	require.NoError(t, <-poked)
	assert.NoError(t, visit(a.Addr()), "the deadline is gone")
}

func (a *acceptor) isPoked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.passed) > 0
}

func TestPokeWithoutAnAcceptLoop(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	err := a.poke(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "nobody has begun to accept")
	assert.False(t, a.isPoked(), "nothing is kept")
	acceptAll(t, a)
	assert.NoError(t, visit(a.Addr()))
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
		err = a.poke(ctx)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "does not come back to Accept")
	}
	close(freed)
	assert.NoError(t, a.poke(t.Context()))
	require.NoError(t, a.Close())
	loop.Wait()
}

// TestPokeOfAFullLimit: who waits for a place below the limit is not in our Accept.
func TestPokeOfAFullLimit(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	l := newLimitListener(a, 1)
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
	require.ErrorIs(t, a.poke(ctx), context.DeadlineExceeded)

	require.NoError(t, accepted.Close())
	assert.NoError(t, a.poke(t.Context()), "there is a place again")
	require.NoError(t, l.Close())
	loop.Wait()
}

func TestPokeAfterClose(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	poked := make(chan error)
	go func() { poked <- a.poke(t.Context()) }()
	assert.Eventually(t, a.isPoked, longest, time.Millisecond)
	require.NoError(t, a.Close())
	require.ErrorIs(t, <-poked, net.ErrClosed)
	require.ErrorIs(t, a.poke(t.Context()), net.ErrClosed)
	require.NoError(t, a.Close(), "a second time")
	_, err := a.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

// TestPokeWithoutDeadlines: an idle listener has none, so only a new Accept counts.
func TestPokeWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcceptor(newIdleListener(new(net.TCPAddr)))
		acceptAll(t, a)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		assert.ErrorIs(t, a.poke(ctx), context.DeadlineExceeded)
	})
}

// TestPokeUnderLoad: thousands of connections while many poke all the time; none is lost, and none waits.
func TestPokeUnderLoad(t *testing.T) {
	const clients, visits, pokers = 8, 500, 4
	a := newTestAcceptor(t, "127.0.0.1:0")
	accepted := acceptAll(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	var poking, visiting sync.WaitGroup
	var pokes, slowest atomic.Int64
	for range pokers {
		poking.Go(func() {
			for ctx.Err() == nil {
				if err := a.poke(ctx); ctx.Err() == nil {
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
				if err := visit(a.Addr()); err != nil {
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

// TestPokeOfManyLoops: each of those that accept is woken, and all go on.
func TestPokeOfManyLoops(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	for range 4 {
		acceptAll(t, a)
	}
	for range 500 {
		require.NoError(t, a.poke(t.Context()))
		require.NoError(t, visit(a.Addr()))
	}
}

// ask connects as the master does, from a source that is known before.
func ask(t *testing.T, addr net.Addr, expect func(source netip.AddrPort)) net.Conn {
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
	dialer := &net.Dialer{LocalAddr: source, Timeout: longest}
	conn, err := dialer.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(target.Port)))
	require.NoError(t, err)
	return conn
}

func TestExpectedConnectionIsKeptFromTheServer(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} { // the last has mapped addresses
		t.Run(address, func(t *testing.T) {
			a := newTestAcceptor(t, address)
			accepted := acceptAll(t, a)
			var arrived <-chan struct{}
			question := ask(t, a.Addr(), func(source netip.AddrPort) {
				arrived = a.expect(source)
				assert.Equal(t, arrived, a.expect(source), "the same question")
			})
			defer question.Close()
			select {
			case <-arrived:
			case <-time.After(longest):
				require.Fail(t, "the question was not seen")
			}
			require.NoError(t, question.SetDeadline(time.Now().Add(longest)))
			answer, err := io.ReadAll(question)
			require.NoError(t, err)
			assert.Empty(t, answer)
			assert.Zero(t, accepted.Load(), "the server has not seen it")
			assert.Zero(t, a.expecting.Load())
		})
	}
}

func TestForgottenConnectionIsServed(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	accepted := acceptAll(t, a)
	other := a.expect(netip.MustParseAddrPort("127.0.0.1:1"))
	conn := ask(t, a.Addr(), func(source netip.AddrPort) {
		a.expect(source)
		a.forget(source)
		a.forget(source) // twice does no harm
	})
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(longest)))
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, conn.LocalAddr().String(), string(answer))
	assert.EqualValues(t, 1, accepted.Load())
	assert.EqualValues(t, 1, a.expecting.Load())
	select {
	case <-other:
		assert.Fail(t, "nobody came from there")
	default:
	}
}

// TestExpectBehindALimit: a question takes no place below a limit that the user has put around the listener.
func TestExpectBehindALimit(t *testing.T) {
	a := newTestAcceptor(t, "127.0.0.1:0")
	acceptAll(t, newLimitListener(a, 1))
	for range 3 {
		var arrived <-chan struct{}
		question := ask(t, a.Addr(), func(source netip.AddrPort) { arrived = a.expect(source) })
		<-arrived
		require.NoError(t, question.Close())
	}
	assert.NoError(t, visit(a.Addr()))
}

// limitListener is what golang.org/x/net/netutil.LimitListener is: at most so many connections at once.
type limitListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newLimitListener(l net.Listener, n int) *limitListener {
	return &limitListener{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	leave func()
}

func (c *limitConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// BenchmarkAccept is what the acceptor adds to an Accept.
func BenchmarkAccept(b *testing.B) {
	for name, l := range map[string]net.Listener{"bare": instantListener{}, "acceptor": newAcceptor(instantListener{})} {
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

// TestExpectationEnds: a master that has given a node up, as it does not answer in time, does not tell it to forget. A client
// that has the port of the question then must not be taken for it.
func TestExpectationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := &seat{listener: newTestAcceptor(t, "127.0.0.1:0")}
		s := newSeats(Options{})
		source := netip.MustParseAddrPort("127.0.0.1:1")
		s.expect(one, source)
		assert.EqualValues(t, 1, one.listener.expecting.Load())
		told := make(chan error, 1)
		go func() { told <- s.await(t.Context(), source) }() // ends when the question is forgotten
		time.Sleep(callTimeout + 1)
		synctest.Wait()
		assert.Zero(t, one.listener.expecting.Load())
		require.Error(t, <-told)
		assert.False(t, s.forget(one, source), "it has not come")
	})
}
