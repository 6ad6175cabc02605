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

func (m *Mesh) newServer() *http.Server {
	server := &http.Server{
		Handler:        m.answer(m.mux),
		ReadTimeout:    m.opts.handshakeTimeout, // of the header and what body a client might send; a stream has none
		WriteTimeout:   2 * m.opts.handshakeTimeout,
		MaxHeaderBytes: maxHeader,
		ConnState:      m.countHandshake,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
	}
	server.SetKeepAlivesEnabled(false) // a refused connection gives its place back at once
	return server
}

// serve runs the server on listener, until shutdown closes the one or republish the other.
func (m *Mesh) serve(listener *net.UnixListener) {
	err := m.server.Serve(ownListener{listener, m})
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		m.log.Error("no longer accepting streams", "error", err)
	}
}

// answer tells the handshakes which connections have sent their request. One that has had to give way gets no answer.
func (m *Mesh) answer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := requestConn(r)
		if !m.shakes.ask(conn) {
			panic(http.ErrAbortHandler)
		}
		defer m.shakes.unask(conn)
		next.ServeHTTP(w, r)
	})
}

func requestConn(r *http.Request) *ownConn { return r.Context().Value(connKey{}).(*ownConn) }

// ownListener accepts connections of our own user, as many at a time as there are places for handshakes.
type ownListener struct {
	*net.UnixListener
	mesh *Mesh
}

// Accept finds a place among the handshakes, which countHandshake gives back.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		unix, err := l.AcceptUnix()
		if err != nil {
			return nil, descriptors.ExplainAccept(err)
		}
		conn := &ownConn{UnixConn: unix, shakes: l.mesh.shakes}
		if err := checkOwn(unix); err != nil {
			l.mesh.log.Warn("connection refused", "error", err)
			_ = conn.Close() // it carried nothing
			continue
		}
		// server.Close waits for this Accept before it closes those that have the places.
		if !l.mesh.shakes.enter(conn, l.mesh.closing) {
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
func (m *Mesh) countHandshake(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		m.running.Add(1)
	case http.StateHijacked, http.StateClosed:
		m.shakes.leave(conn.(*ownConn))
		m.running.Done()
	default:
	}
}
