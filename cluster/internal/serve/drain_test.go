package serve

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/serve/servetest"
	"github.com/multinode-go/multinode/internal/await"
)

// place is a server at work.
type place struct {
	*served

	opened atomic.Int64 // connections that the user's ConnState has seen
}

// newPlace serves with wrap(server), on a port of its own.
func newPlace(t *testing.T, server *http.Server, wrap func(*http.Server) Server) *place {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := new(place)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.opened.Add(1)
		}
	}
	server.ErrorLog = log.New(io.Discard, "", 0)
	p.served = newServed(t, wrap(server), l, await.Limit)
	t.Cleanup(func() {
		// Shutdown alone would wait for ever for a connection of HTTP/2 whose handshake ends behind its back.
		assert.NoError(t, server.Close())
		p.lameDuck = 0
		assert.NoError(t, p.drain(context.Background(), func(context.Context) error { return p.listener.Close() }))
	})
	return p
}

func plainHTTP(server *http.Server) Server { return server }

// town dials for the clients of a test: one place after the other, as the kernel steers connections.
type town struct {
	mu     sync.RWMutex // held for reading by a client that dials
	place  *place
	visits int64 // to place; atomic
}

func (w *town) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	conn, err := new(net.Dialer).DialContext(ctx, network, w.place.listener.Addr().String())
	if err == nil {
		atomic.AddInt64(&w.visits, 1)
	}
	return conn, err
}

// leave sends new connections to the next place, and waits until no connection is left in the queue of this one.
func (w *town) leave(next *place) func(context.Context) error {
	return func(ctx context.Context) error {
		w.mu.Lock()
		last, visits := w.place, w.visits
		w.place, w.visits = next, 0
		w.mu.Unlock()
		for last.opened.Load() < visits {
			if err := last.listener.Poke(ctx); err != nil {
				return err
			}
		}
		return last.listener.Close()
	}
}

// hammer makes n clients send one request after the other through drains of three places, and counts failures. A
// client thinks between two requests, so that connections are idle at times.
func hammer(t *testing.T, n int, wrap func(*http.Server) Server, client func(*town) (do func(body string) error)) {
	t.Helper()
	var handled sync.Map
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, twice := handled.LoadOrStore(r.URL.Path, true)
		assert.False(t, twice, "%s was done twice", r.URL.Path)
		servetest.Echo(w, r)
	})
	here := newPlace(t, &http.Server{Handler: handler}, wrap)
	w := &town{place: here}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var done, failed atomic.Int64
	for id := range n {
		do := client(w)
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := do(fmt.Sprintf("/%d/%d", id, i)); err != nil {
					t.Error(err)
					failed.Add(1)
				}
				done.Add(1)
				if i%16 == 0 {
					time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
				}
			}
		})
	}
	for range 3 {
		enough := done.Load() + int64(20*n)
		require.Eventually(t, func() bool { return done.Load() > enough }, await.Limit, time.Millisecond)
		next := newPlace(t, &http.Server{Handler: handler}, wrap)
		require.NoError(t, here.drain(t.Context(), w.leave(next)), "lame ducks are told, and it ends long before its time")
		connections, requests := here.Load()
		assert.Zero(t, connections)
		assert.Zero(t, requests)
		require.NoError(t, here.failure(), "Serve was told to end")
		here = next
	}
	cancel()
	clients.Wait()
	assert.Zero(t, failed.Load(), "of %d", done.Load())
	t.Logf("%d requests", done.Load())
}

// oneWay hides the methods by which a Transport could send a body again without the test.
type oneWay struct{ io.Reader }

func post(client *http.Client, scheme, body string, again bool) error {
	var reader io.Reader = strings.NewReader(body)
	if !again {
		reader = oneWay{reader}
	}
	request, err := http.NewRequest(http.MethodPost, scheme+"://town"+body, reader)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && string(answer) != body {
		return fmt.Errorf("%s was answered %s %q", body, response.Status, answer)
	}
	return err
}

func transport(t *testing.T, w *town) *http.Transport {
	t.Helper()
	tr := &http.Transport{DialContext: w.dial, MaxIdleConnsPerHost: 100}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// TestDrainLosesNoRequest has ordinary clients, which do not get the chance to try again.
func TestDrainLosesNoRequest(t *testing.T) {
	var tr *http.Transport
	hammer(t, 8, plainHTTP, func(w *town) func(string) error {
		if tr == nil {
			tr = transport(t, w)
		}
		return func(body string) error { return post(&http.Client{Transport: tr}, "http", body, false) }
	})
}

// TestDrainLosesNoRequestOfARawClient has clients that know nothing but Connection: close.
func TestDrainLosesNoRequestOfARawClient(t *testing.T) {
	hammer(t, 8, plainHTTP, func(w *town) func(string) error {
		var conn net.Conn
		t.Cleanup(func() {
			if conn != nil {
				_ = conn.Close()
			}
		})
		return func(body string) (err error) {
			if conn == nil {
				if conn, err = w.dial(context.Background(), "tcp", ""); err != nil {
					return err
				}
			}
			response, err := servetest.Exchange(conn, body)
			if err == nil && response.Close {
				err, conn = conn.Close(), nil
			}
			return err
		}
	})
}

// TestDrainLosesNoRequestOverTLS has clients of HTTP/1 and of HTTP/2. The latter may send a request while the GOAWAY is
// on its way: the server ignores it, and the client sends it again (RFC 9113, section 6.8), for which it needs the body
// again. No request is handled twice.
func TestDrainLosesNoRequestOverTLS(t *testing.T) {
	certFile, keyFile, roots := servetest.Certificate(t)
	secure := func(server *http.Server) Server {
		return secureServer{server, certFile, keyFile}
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			isHTTP2 := protocol == "HTTP/2.0"
			var tr *http.Transport
			hammer(t, 8, secure, func(w *town) func(string) error {
				if tr == nil {
					tr = transport(t, w)
					tr.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "town"}
					tr.ForceAttemptHTTP2 = isHTTP2
				}
				return func(body string) error { return post(&http.Client{Transport: tr}, "https", body, isHTTP2) }
			})
		})
	}
}

// secureServer serves with TLS.
type secureServer struct {
	*http.Server
	certFile, keyFile string
}

func (s secureServer) Serve(l net.Listener) error { return s.ServeTLS(l, s.certFile, s.keyFile) }

func (s secureServer) HTTPServer() *http.Server { return s.Server }

// TestDrainSaysGoAway looks at the frames.
func TestDrainSaysGoAway(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	p := newPlace(t, &http.Server{Handler: http.HandlerFunc(servetest.Echo), Protocols: protocols}, plainHTTP)
	w := &town{place: p}
	frames := make(chan frame, 1000)
	tr := transport(t, w)
	tr.Protocols = protocols
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := w.dial(ctx, network, "")
		if err != nil {
			return nil, err
		}
		return sniff(conn, frames), nil
	}
	client := &http.Client{Transport: tr}
	require.NoError(t, post(client, "http", "/before", false))
	connections, _ := p.Load()
	assert.Equal(t, 1, connections)

	left := make(chan struct{})
	drained := make(chan error)
	go func() {
		drained <- p.drain(t.Context(), func(context.Context) error {
			close(left)
			return p.listener.Close()
		})
	}()
	<-left
	require.NoError(t, post(client, "http", "/after", false), "on the same connection")
	require.NoError(t, <-drained, "the connection is closed by itself")
	assert.EqualValues(t, 1, p.opened.Load())
	connections, _ = p.Load()
	assert.Zero(t, connections)
	const goAway = 7 // RFC 9113, section 6.8
	for {
		select {
		case f := <-frames:
			if f.kind == goAway {
				assert.Zero(t, binary.BigEndian.Uint32(f.payload[4:8]), "NO_ERROR")
				return
			}
		default:
			require.Fail(t, "no GOAWAY")
		}
	}
}

// frame is a frame of HTTP/2.
type frame struct {
	kind    byte
	payload []byte
}

// sniff returns conn, and sends the frames that are read from it to frames.
func sniff(conn net.Conn, frames chan<- frame) net.Conn {
	r, w := io.Pipe()
	go func() { // ends with conn
		defer r.Close()
		header := make([]byte, 9) // RFC 9113, section 4.1
		for {
			if _, err := io.ReadFull(r, header); err != nil {
				return
			}
			payload := make([]byte, binary.BigEndian.Uint32(header)>>8)
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
			frames <- frame{kind: header[3], payload: payload}
		}
	}()
	return &sniffedConn{Conn: conn, tee: io.TeeReader(conn, w), pipe: w}
}

type sniffedConn struct {
	net.Conn
	tee  io.Reader
	pipe *io.PipeWriter
}

func (c *sniffedConn) Read(b []byte) (int, error) { return c.tee.Read(b) }

func (c *sniffedConn) Close() error { return errors.Join(c.pipe.Close(), c.Conn.Close()) }

// TestDrainBelowAFullLimit: Serve waits for a place and not for a connection, and does not see that the listener is
// closed.
func TestDrainBelowAFullLimit(t *testing.T) {
	p := newPlace(t, &http.Server{Handler: http.HandlerFunc(servetest.Echo)}, func(server *http.Server) Server {
		return servetest.LimitedServer{Server: server}
	})
	conn, err := net.Dial("tcp", p.listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = servetest.Exchange(conn, "/before")
	require.NoError(t, err)
	left := make(chan struct{})
	drained := make(chan error)
	go func() {
		drained <- p.drain(t.Context(), func(context.Context) error {
			close(left)
			return p.listener.Close()
		})
	}()
	<-left
	response, err := servetest.Exchange(conn, "/after")
	require.NoError(t, err)
	assert.True(t, response.Close)
	require.NoError(t, <-drained)
	assert.NoError(t, p.failure())
}
