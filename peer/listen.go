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
)

// maxHandshakes bounds the connections that are accepted and not streams yet. More wait in the kernel's queue, so that
// clients that connect and say nothing cannot use up our descriptors.
const maxHandshakes = 64

type pidKey struct{}

func (m *Mesh) newServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream/{name}", m.handleStream)
	server := &http.Server{
		Handler:        mux,
		ReadTimeout:    m.opts.handshakeTimeout, // of the header and what body a client might send; a stream has none
		WriteTimeout:   2 * m.opts.handshakeTimeout,
		MaxHeaderBytes: maxHeader,
		ConnState:      m.countHandshake,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			pid, _, _ := credentials(conn.(*net.UnixConn)) // Accept has looked at the error
			return context.WithValue(ctx, pidKey{}, pid)
		},
		ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
	}
	server.SetKeepAlivesEnabled(false) // a refused connection gives its slot back at once
	return server
}

// serve runs the server until shutdown closes it.
func (m *Mesh) serve() {
	if err := m.server.Serve(ownListener{m.public.listener, m}); !errors.Is(err, http.ErrServerClosed) {
		m.log.Error("no longer accepting streams", "error", err)
	}
}

// ownListener accepts connections of our own user, as many at a time as there are slots.
type ownListener struct {
	*net.UnixListener
	mesh *Mesh
}

// Accept takes a slot, which countHandshake gives back.
func (l ownListener) Accept() (net.Conn, error) {
	select {
	case l.mesh.slots <- struct{}{}:
	case <-l.mesh.closing: // server.Close waits for this Accept before it closes those that have the slots
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			<-l.mesh.slots
			return nil, err
		}
		if err := checkOwn(conn); err != nil {
			l.mesh.log.Warn("connection refused", "error", err)
			_ = conn.Close() // it carried nothing
			continue
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

// countHandshake keeps account of the server's connections, in slots and in running: net/http waits for none of them.
// Each goes from StateNew, which Serve sets, to one of the other two.
func (m *Mesh) countHandshake(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		m.running.Add(1)
	case http.StateHijacked, http.StateClosed:
		<-m.slots
		m.running.Done()
	default:
	}
}

func (m *Mesh) handleStream(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	from, handle, refused := m.admit(name, r)
	if refused != nil {
		m.log.Warn("stream refused", "stream", name, "pid", from.PID, "reason", refused.reason)
		if refused.status == http.StatusUpgradeRequired {
			w.Header().Set("Upgrade", protocol) // RFC 9110, section 15.5.22
		}
		http.Error(w, refused.reason, refused.status)
		return
	}
	conn, early, err := m.switchProtocols(w)
	if err != nil {
		m.log.Warn("stream failed", "stream", name, "peer", from.node().String(), "error", err)
		return
	}
	if m.track(conn, from.node()) && !m.run(func() { handle(newStream(m, conn, name, from, early)) }) {
		_ = m.release(conn) // the mesh was closed meanwhile
	}
}

// admit decides about a request, and returns what is to be done with its stream. Even a request that is refused has a
// pid.
func (m *Mesh) admit(name string, r *http.Request) (from Info, handle func(*Stream), refused *refusedError) {
	pid, _ := r.Context().Value(pidKey{}).(int)
	if err := checkStream(name); err != nil {
		return Info{PID: pid}, nil, refuse(http.StatusBadRequest, "%v", err)
	}
	from, refused = parseHeader(r.Header, m.self.Cluster)
	from.PID = pid
	if refused != nil {
		return from, nil, refused
	}
	if name == linkStream {
		if from.ID >= m.self.ID {
			return from, nil, refuse(http.StatusForbidden, "node %d dials the link to node %d, whose id is not higher",
				from.ID, m.self.ID)
		}
		return from, m.acceptLink, nil
	}
	o := m.offerFor(name, from)
	if o == nil {
		return from, nil, refuse(http.StatusNotFound, "node %d wants no stream %q with node %d", m.self.ID, name, from.ID)
	}
	return from, o.handle, nil
}

// acceptLink runs a link that a peer has dialed.
func (m *Mesh) acceptLink(stream *Stream) {
	if err := m.runLink(stream); err != nil {
		m.log.Warn("link failed", "peer", stream.peer.node().String(), "error", err)
	}
}

// switchProtocols sends the answer and takes the connection over, with the bytes that came right behind the request.
func (m *Mesh) switchProtocols(w http.ResponseWriter) (*net.UnixConn, []byte, error) {
	maps.Copy(w.Header(), m.self.header())
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
