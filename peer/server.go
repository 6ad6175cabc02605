package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/multinode-go/multinode/internal/descriptors"
)

type connKey struct{}

// server answers on this node's socket.
type server struct {
	*core
	shakes *handshakes // of the connections that others dial
	http   *http.Server
}

func newServer(c *core, shakes *handshakes, handler http.Handler) *server {
	s := &server{core: c, shakes: shakes}
	s.http = &http.Server{
		Handler:        s.answer(handler),
		ReadTimeout:    c.opts.handshakeTimeout, // of the header and what body a client might send; a stream has none
		WriteTimeout:   2 * c.opts.handshakeTimeout,
		MaxHeaderBytes: maxHeader,
		ConnState:      s.countHandshake,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelWarn),
	}
	s.http.SetKeepAlivesEnabled(false) // a refused connection gives its place back at once
	return s
}

// serve runs the server on listener, until shutdown closes the one or republish the other.
func (s *server) serve(listener *net.UnixListener) {
	err := s.http.Serve(ownListener{listener, s})
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.log.Error("no longer accepting streams", "error", err)
	}
}

// answer tells the handshakes which connections have sent their request. One that has had to give way gets no answer.
func (s *server) answer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := requestConn(r)
		if !s.shakes.ask(conn) {
			panic(http.ErrAbortHandler)
		}
		defer s.shakes.unask(conn)
		next.ServeHTTP(w, r)
	})
}

func requestConn(r *http.Request) *ownConn { return r.Context().Value(connKey{}).(*ownConn) }

// ownListener accepts connections of our own user, as many at a time as there are places for handshakes.
type ownListener struct {
	*net.UnixListener
	server *server
}

// Accept finds a place among the handshakes, which countHandshake gives back.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		unix, err := l.AcceptUnix()
		if err != nil {
			return nil, descriptors.ExplainAccept(err)
		}
		conn := &ownConn{UnixConn: unix, shakes: l.server.shakes}
		if err := checkOwn(unix); err != nil {
			l.server.log.Warn("connection refused", "error", err)
			_ = conn.Close() // it carried nothing
			continue
		}
		// server.Close waits for this Accept before it closes those that have the places.
		if !l.server.shakes.enter(conn, l.server.closing) {
			_ = conn.Close() // it carried nothing
			return nil, net.ErrClosed
		}
		return conn, nil
	}
}

// checkOwn returns an error when the other end of conn is not a process of our user.
func checkOwn(conn *net.UnixConn) error {
	pid, uid, err := credentials(conn)
	if err != nil {
		return err
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("process %d belongs to uid %d, and we are uid %d", pid, uid, os.Geteuid())
	}
	return nil
}

// countHandshake keeps account of the server's connections, in shakes and in running: net/http waits for none of them.
// Each goes from StateNew, which Serve sets, to one of the other two.
func (s *server) countHandshake(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.running.Add(1)
	case http.StateHijacked, http.StateClosed:
		s.shakes.leave(conn.(*ownConn))
		s.running.Done()
	default:
	}
}
