package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
)

type connKey struct{}

func (m *Mesh) newServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream/{name}", m.handleStream)
	server := &http.Server{
		Handler:        m.answer(mux),
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
		defer m.shakes.answered(conn)
		next.ServeHTTP(w, r)
	})
}

func requestConn(r *http.Request) *net.UnixConn { return r.Context().Value(connKey{}).(*net.UnixConn) }

// ownListener accepts connections of our own user, as many at a time as there are places for handshakes.
type ownListener struct {
	*net.UnixListener
	mesh *Mesh
}

// Accept finds a place among the handshakes, which countHandshake gives back.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if err := checkOwn(conn); err != nil {
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
		m.shakes.leave(conn)
		m.running.Done()
	default:
	}
}

func (m *Mesh) handleStream(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	from, version, handle, refused := m.admit(name, r)
	if refused != nil {
		m.log.Warn("stream refused", "stream", name, "pid", from.PID, "reason", refused.reason)
		if refused.status == http.StatusUpgradeRequired {
			w.Header().Set("Upgrade", protocol) // RFC 9110, section 15.5.22
			w.Header().Set(headerVersion, strconv.Itoa(m.opts.versions.newest))
		}
		http.Error(w, refused.reason, refused.status)
		return
	}
	conn, early, err := m.switchProtocols(w, version)
	if err != nil {
		m.log.Warn("stream failed", "stream", name, "peer", from.node().String(), "error", err)
		return
	}
	if m.track(conn, from.node()) && !m.run(func() { handle(newStream(m, conn, name, from, early)) }) {
		_ = m.release(conn) // the mesh was closed meanwhile
	}
}

// admit decides about a request, and returns in which version to answer, and what is to be done with the stream. Even
// a request that is refused has a pid.
func (m *Mesh) admit(name string, r *http.Request) (
	from Info, version int, handle func(*Stream), refused *refusedError,
) {
	pid, _, _ := credentials(requestConn(r)) // Accept has looked at the error
	if err := checkStream(name); err != nil {
		return Info{PID: pid}, 0, nil, refuse(http.StatusBadRequest, "%v", err)
	}
	from, version, refused = parseRequest(r.Header, m.self.Cluster, m.opts.versions)
	from.PID = pid
	if refused == nil {
		handle, refused = m.handler(name, from)
	}
	return from, version, handle, refused
}

// handler returns what is to be done with a stream that a node has dialed.
func (m *Mesh) handler(name string, from Info) (func(*Stream), *refusedError) {
	if name == linkStream {
		if from.ID >= m.self.ID {
			return nil, refuse(http.StatusForbidden, "node %d dials the link to node %d, whose id is not higher",
				from.ID, m.self.ID)
		}
		return m.acceptLink, nil
	}
	o := m.offerFor(name, from)
	if o == nil {
		return nil, refuse(http.StatusNotFound, "node %d wants no stream %q with node %d", m.self.ID, name, from.ID)
	}
	return o.handle, nil
}

// acceptLink runs a link that a peer has dialed.
func (m *Mesh) acceptLink(stream *Stream) {
	if err := m.runLink(stream); err != nil {
		m.log.Warn("link failed", "peer", stream.peer.node().String(), "error", err)
	}
}

// switchProtocols sends the answer and takes the connection over, with the bytes that came right behind the request.
func (m *Mesh) switchProtocols(w http.ResponseWriter, version int) (*net.UnixConn, []byte, error) {
	maps.Copy(w.Header(), m.self.header())
	w.Header().Set(headerVersion, strconv.Itoa(version))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn.(*net.UnixConn), early, nil
}
