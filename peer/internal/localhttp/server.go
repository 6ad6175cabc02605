// Package localhttp serves HTTP on Unix sockets to the processes of our own user. Clients that send garbage, half a request or
// nothing cost a bounded number of connections for a bounded time, and keep no other client out.
package localhttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/descriptors"
)

// Config configures a Server. All of it is required.
type Config struct {
	Handler   http.Handler
	Timeout   time.Duration   // for a request; its answer has twice as long, unless the handler extends that
	MaxHeader int             // bytes
	Closing   <-chan struct{} // is closed before Close is called
	Log       *slog.Logger
}

// Server serves HTTP. One connection carries one request, which may become a stream by its handler.
type Server struct {
	config Config
	http   *http.Server
	shakes *handshakes
	conns  sync.WaitGroup
}

// NewServer returns a server. The caller closes it, and the listeners that it serves are closed then.
func NewServer(config Config) *Server {
	s := &Server{config: config, shakes: newHandshakes()}
	s.http = &http.Server{
		Handler:        s.answer(config.Handler),
		ReadTimeout:    config.Timeout, // of the header and what body a client might send; a stream has none
		WriteTimeout:   2 * config.Timeout,
		MaxHeaderBytes: config.MaxHeader,
		ConnState:      s.countHandshake,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ErrorLog: slog.NewLogLogger(config.Log.Handler(), slog.LevelWarn),
	}
	s.http.SetKeepAlivesEnabled(false) // a refused connection frees its place at once
	return s
}

// Serve serves what listener accepts, until Close or until the listener is closed.
func (s *Server) Serve(listener *net.UnixListener) {
	err := s.http.Serve(ownListener{listener, s})
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.config.Log.Error("no longer accepting streams", "error", err)
	}
}

// Close closes the connections that have not become streams, and returns when all handlers have returned.
func (s *Server) Close() error {
	err := s.http.Close()
	s.conns.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // its owner has closed a listener, and Serve has yet to return
	}
	return err
}

// Handshakes returns how many connections have a place: their request is awaited or answered, and they were not released.
func (s *Server) Handshakes() int { return len(s.shakes.places) }

// answer marks the connections whose request is complete. A connection that had to give way gets no other answer.
func (s *Server) answer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := requestConn(r)
		if !s.shakes.ask(conn) {
			panic(http.ErrAbortHandler)
		}
		defer s.shakes.unask(conn)
		next.ServeHTTP(w, r)
	})
}

// countHandshake keeps account of the server's connections, in shakes and in conns: net/http waits for none of them.
// Each goes from StateNew, which Serve sets, to one of the other two.
func (s *Server) countHandshake(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateHijacked, http.StateClosed:
		s.shakes.leave(conn.(*ownConn))
		s.conns.Done()
	default:
	}
}

type connKey struct{}

func requestConn(r *http.Request) *ownConn { return r.Context().Value(connKey{}).(*ownConn) }

// Conn returns the connection of a request.
func Conn(r *http.Request) *net.UnixConn { return requestConn(r).UnixConn }

// Hijack takes the connection of a request over from the server.
func Hijack(w http.ResponseWriter) (conn *net.UnixConn, early []byte, err error) {
	own, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err = buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		return nil, nil, errors.Join(err, own.Close())
	}
	return own.(*ownConn).UnixConn, early, nil
}

// AwaitBody marks a request as incomplete while its body is read: its connection may have to give way meanwhile.
func AwaitBody(r *http.Request) {
	conn := requestConn(r)
	conn.shakes.unask(conn)
}

// Release frees the place of a request, whose answer may take any time. It returns false if its connection had to
// give way meanwhile.
func Release(r *http.Request) bool {
	conn := requestConn(r)
	return conn.shakes.release(conn)
}

// ownListener accepts connections of our own user, as many at a time as there are places for handshakes.
type ownListener struct {
	*net.UnixListener
	server *Server
}

// Accept waits for a place among the handshakes, which countHandshake frees.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		unix, err := l.AcceptUnix()
		if err != nil {
			return nil, descriptors.ExplainAccept(err)
		}
		conn := &ownConn{UnixConn: unix, shakes: l.server.shakes}
		if err := CheckOwn(unix); err != nil {
			l.server.config.Log.Warn("connection refused", "error", err)
			_ = conn.Close() // it carried nothing
			continue
		}
		// Close waits for this Accept before it closes the connections in the places.
		if !l.server.shakes.enter(conn, l.server.config.Closing) {
			_ = conn.Close() // it carried nothing
			return nil, net.ErrClosed
		}
		return conn, nil
	}
}

// CheckOwn returns an error when the other end of conn is not a process of our user.
func CheckOwn(conn *net.UnixConn) error {
	pid, uid, err := Credentials(conn)
	if err != nil {
		return err
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("process %d belongs to uid %d, and we are uid %d", pid, uid, os.Geteuid())
	}
	return nil
}
