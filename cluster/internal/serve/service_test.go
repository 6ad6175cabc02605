package serve

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/serve/servetest"
)

// pipes is a listener for connections within this process, for tests in virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return new(net.TCPAddr) }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// served is a server at work on one listener.
type served struct {
	*Servers

	one      *service
	listener *Acceptor
	lameDuck time.Duration
	failed   chan error
}

func newServed(t *testing.T, server Server, l net.Listener, lameDuck time.Duration) *served {
	t.Helper()
	s := &served{Servers: New(Config{}), listener: NewAcceptor(l), lameDuck: lameDuck, failed: make(chan error, 1)}
	var err error
	s.one, err = s.add(server, []net.Listener{s.listener})
	require.NoError(t, err)
	go s.one.serve(func(err error) { s.failed <- err })
	return s
}

func (s *served) drain(ctx context.Context, leave func(context.Context) error) error {
	return s.Drain(ctx, s.lameDuck, leave)
}

// failure returns why the server has ended by itself.
func (s *served) failure() error {
	<-s.one.ended
	select {
	case err := <-s.failed:
		return err
	default:
		return nil
	}
}

// scene is a server on pipes, in virtual time.
type scene struct {
	t       *testing.T
	service *served
	pipes   *pipes
}

// bubble runs f with a service of handler.
func bubble(t *testing.T, handler http.HandlerFunc, f func(scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := newServed(t, &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}, p, 5*time.Second)
		f(scene{t, s, p})
		synctest.Wait()
		connections, requests := s.Load()
		assert.Zero(t, connections)
		assert.Zero(t, requests)
	})
}

// start drains s and returns how long that took, and its error.
func startDrain(s *served, timeout time.Duration) func() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	begin, ended := time.Now(), make(chan time.Time, 1)
	var err error
	go func() {
		defer cancel()
		err = s.drain(ctx, func(context.Context) error { return s.listener.Close() })
		ended <- time.Now()
	}()
	return func() (time.Duration, error) { return (<-ended).Sub(begin), err }
}

func TestDrainWithoutConnectionsIsAtOnce(t *testing.T) {
	bubble(t, servetest.Echo, func(in scene) {
		t, s := in.t, in.service
		require.NoError(t, s.Draining().Err())
		took, err := startDrain(s, time.Hour)()
		require.NoError(t, err)
		assert.Zero(t, took)
		require.Error(t, s.Draining().Err())
		assert.NoError(t, s.failure())
	})
}

func TestDrainClosesIdleConnectionsAfterTheLameDuck(t *testing.T) {
	bubble(t, servetest.Echo, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		defer conn.Close()
		response, err := servetest.Exchange(conn, "/before")
		require.NoError(t, err)
		assert.False(t, response.Close)
		wait := startDrain(s, time.Hour)
		begin := time.Now()
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		assert.Equal(t, 5*time.Second, time.Since(begin))
		took, err := wait()
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, took)
	})
}

func TestDrainTellsIdleConnections(t *testing.T) {
	bubble(t, servetest.Echo, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		defer conn.Close()
		_, err := servetest.Exchange(conn, "/before")
		require.NoError(t, err)
		wait := startDrain(s, time.Hour)
		time.Sleep(3 * time.Second)
		response, err := servetest.Exchange(conn, "/after")
		require.NoError(t, err)
		assert.True(t, response.Close)
		took, err := wait()
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, took, "no connection is left")
	})
}

// TestDrainLetsAConnectionSpeak: Shutdown would drop a connection that has not sent its first request.
func TestDrainLetsAConnectionSpeak(t *testing.T) {
	bubble(t, servetest.Echo, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		defer conn.Close()
		wait := startDrain(s, time.Hour)
		time.Sleep(4 * time.Second)
		response, err := servetest.Exchange(conn, "/first")
		require.NoError(t, err)
		assert.True(t, response.Close)
		_, err = wait()
		assert.NoError(t, err)
	})
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	for _, d := range []time.Duration{500 * time.Millisecond, 20 * time.Second} {
		bubble(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(d)
			servetest.Echo(w, r)
		}, func(in scene) {
			t, s, p := in.t, in.service, in.pipes
			conn := p.dial()
			defer conn.Close()
			answered := make(chan error)
			go func() {
				_, err := servetest.Exchange(conn, "/long")
				answered <- errors.Join(err, conn.Close())
			}()
			synctest.Wait()
			connections, requests := s.Load()
			assert.Equal(t, 1, connections)
			assert.Equal(t, 1, requests)
			wait := startDrain(s, time.Hour)
			require.NoError(t, <-answered)
			took, err := wait()
			require.NoError(t, err)
			assert.InDelta(t, d, took, float64(time.Second), "as long as the request")
		})
	}
}

// TestDrainTellsAHandlerThatWritesNothing: it began before the drain, but its header is written after it has returned.
func TestDrainTellsAHandlerThatWritesNothing(t *testing.T) {
	bubble(t, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		defer conn.Close()
		answered := make(chan bool, 1)
		go func() {
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: town\r\n\r\n")
			assert.NoError(t, err)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			answered <- err == nil && response.StatusCode == http.StatusOK && response.Close
		}()
		synctest.Wait()
		wait := startDrain(s, time.Hour)
		assert.True(t, <-answered)
		took, err := wait()
		require.NoError(t, err)
		assert.Equal(t, time.Second, took)
	})
}

func TestDrainIsCutAtItsTime(t *testing.T) {
	bubble(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body) // only then the server watches the connection
		assert.NoError(t, err)
		<-r.Context().Done()
	}, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		defer conn.Close()
		cut := make(chan error, 1)
		go func() {
			_, err := servetest.Exchange(conn, "/long")
			cut <- err
		}()
		synctest.Wait()
		took, err := startDrain(s, 2*time.Second)()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 2*time.Second, took, "less than the lame duck")
		assert.Error(t, <-cut)
	})
}

// TestDrainOfIdleConnectionsIsCutAtItsTime: idle connections are no reason for an error.
func TestDrainOfIdleConnectionsIsCutAtItsTime(t *testing.T) {
	bubble(t, servetest.Echo, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		defer conn.Close()
		_, err := servetest.Exchange(conn, "/before")
		require.NoError(t, err)
		took, err := startDrain(s, 2*time.Second)()
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, took)
	})
}

// upgrade asks for another protocol.
func upgrade(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: town\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	require.Equal(t, []string{"Upgrade"}, response.Header["Connection"])
}

func TestDrainWaitsForHijackedConnections(t *testing.T) {
	var s *served
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "changed by a middleware"
		conn, err := servetest.Hijack(w)
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		<-s.Draining().Done()
		time.Sleep(10 * time.Second)
		_, err = io.WriteString(conn, "goodbye")
		assert.NoError(t, err)
	}, func(in scene) {
		t, p := in.t, in.pipes
		s = in.service
		conn := p.dial()
		defer conn.Close()
		upgrade(t, conn)
		synctest.Wait()
		connections, requests := s.Load()
		assert.Zero(t, connections)
		assert.Equal(t, 1, requests)
		wait := startDrain(s, time.Hour)
		rest, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Equal(t, "goodbye", string(rest))
		took, err := wait()
		require.NoError(t, err)
		assert.Equal(t, 10*time.Second, took)
		assert.Empty(t, s.one.traffic.hijacked)
		assert.Zero(t, s.one.traffic.hijacks.Load())
	})
}

func TestDrainCutsHijackedConnections(t *testing.T) {
	for name, c := range map[string]struct{ timeout, hijackTimeout, want time.Duration }{
		"at the bound":     {time.Hour, 7 * time.Second, 7 * time.Second},
		"at the end":       {3 * time.Second, 7 * time.Second, 3 * time.Second},
		"without a bound":  {3 * time.Second, 0, 3 * time.Second},
		"at the same time": {3 * time.Second, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, err := servetest.Hijack(w)
				if assert.NoError(t, err) {
					_, err = conn.Read(make([]byte, 1)) // and looks at nothing else
					assert.Error(t, err)
				}
			}, func(in scene) {
				t, s, p := in.t, in.service, in.pipes
				s.config.HijackTimeout = c.hijackTimeout
				conn := p.dial()
				defer conn.Close()
				upgrade(t, conn)
				took, err := startDrain(s, c.timeout)()
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, "1 connections that handlers had taken over were cut")
				assert.Equal(t, c.want, took)
			})
		})
	}
}

// TestDrainServesAnUpgrade in the lame duck, with one Connection header: some clients refuse a second.
func TestDrainServesAnUpgrade(t *testing.T) {
	bubble(t, func(w http.ResponseWriter, _ *http.Request) {
		assert.Empty(t, w.Header())
		if conn, err := servetest.Hijack(w); assert.NoError(t, err) {
			assert.NoError(t, conn.Close())
		}
	}, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		defer conn.Close()
		wait := startDrain(s, time.Hour)
		synctest.Wait()
		upgrade(t, conn)
		took, err := wait()
		require.NoError(t, err)
		assert.Zero(t, took)
	})
}

func TestPanicsAreCounted(t *testing.T) {
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			_, err := servetest.Hijack(w)
			assert.NoError(t, err)
		}
		panic("this handler is broken")
	}, func(in scene) {
		t, s, p := in.t, in.service, in.pipes
		conn := p.dial()
		_, err := servetest.Exchange(conn, "/")
		require.Error(t, err)
		require.NoError(t, conn.Close())
		conn = p.dial()
		upgrade(t, conn)
		require.NoError(t, conn.Close())
		synctest.Wait()
		connections, requests := s.Load()
		assert.Zero(t, connections)
		assert.Zero(t, requests)
		_, err = startDrain(s, time.Hour)()
		assert.NoError(t, err)
	})
}

// ownServer is a server that knows nothing of HTTP.
type ownServer struct {
	stopped     chan struct{}
	shutdowns   atomic.Int32
	untilClosed bool // Serve returns with the listener, else with Shutdown
	err         error
}

func (s *ownServer) Serve(l net.Listener) error {
	if s.err != nil {
		return s.err
	}
	_, err := l.Accept() // no connection comes
	if !s.untilClosed {
		<-s.stopped
		err = nil
	}
	return err
}

func (s *ownServer) Shutdown(context.Context) error {
	s.shutdowns.Add(1)
	close(s.stopped)
	return nil
}

func TestDrainOfAServerOfItsOwn(t *testing.T) {
	for _, untilClosed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			server := &ownServer{stopped: make(chan struct{}), untilClosed: untilClosed}
			s := newServed(t, server, newPipes(), time.Hour)
			wait := startDrain(s, time.Hour)
			<-s.Draining().Done()
			took, err := wait()
			require.NoError(t, err)
			assert.Zero(t, took)
			require.NoError(t, s.failure(), "it was told to")
			assert.EqualValues(t, 1, server.shutdowns.Load())
			connections, requests := s.Load()
			assert.Zero(t, connections+requests)
		})
	}
}

func TestServerThatStopsByItself(t *testing.T) {
	broken := errors.New("broken")
	for want, server := range map[error]Server{
		broken:               &ownServer{err: broken},
		net.ErrClosed:        &ownServer{untilClosed: true}, // whose listener is closed
		http.ErrServerClosed: stoppedServer(),
	} {
		l := newPipes()
		require.NoError(t, l.Close())
		assert.ErrorIs(t, newServed(t, server, l, time.Hour).failure(), want)
	}
}

func stoppedServer() *http.Server {
	server := new(http.Server)
	_ = server.Close()
	return server
}

func TestDrainWithoutAServer(t *testing.T) {
	s := New(Config{})
	require.NoError(t, s.Drain(t.Context(), time.Hour, func(context.Context) error {
		assert.NoError(t, s.Draining().Err(), "connections may still come")
		return nil
	}))
	require.Error(t, s.Draining().Err())
	one, err := s.add(new(http.Server), []net.Listener{newPipes()})
	require.NoError(t, err)
	assert.Nil(t, one, "it is over")
}

func TestLeaveThatFailsEndsTheServiceAllTheSame(t *testing.T) {
	bubble(t, servetest.Echo, func(in scene) {
		t, s := in.t, in.service
		broken := errors.New("broken")
		require.ErrorIs(t, s.drain(t.Context(), func(context.Context) error { return broken }), broken)
		assert.NoError(t, s.failure())
	})
}

func TestConnStateOfTheUserIsCalled(t *testing.T) {
	var states []http.ConnState // called by one goroutine after the other
	server := &http.Server{
		Handler:   http.HandlerFunc(servetest.Echo),
		ConnState: func(_ net.Conn, state http.ConnState) { states = append(states, state) },
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := newServed(t, server, p, time.Hour)
		conn := p.dial()
		_, err := servetest.Exchange(conn, "/")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		synctest.Wait()
		assert.Equal(t, []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateClosed}, states)
		_, err = startDrain(s, time.Hour)()
		assert.NoError(t, err)
	})
}

// inTheClear serves by means of an *http.Server.
type inTheClear struct{ *http.Server }

func (s inTheClear) HTTPServer() *http.Server { return s.Server }

func TestHandlerOfTheDefaultMux(t *testing.T) {
	server := new(http.Server)
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := newServed(t, inTheClear{server}, p, time.Hour)
		assert.NotNil(t, s.one.traffic)
		conn := p.dial()
		response, err := servetest.Exchange(conn, "/")
		require.Error(t, err)
		assert.Nil(t, response)
		require.NoError(t, conn.Close())
		_, err = startDrain(s, time.Hour)()
		assert.NoError(t, err)
	})
}
