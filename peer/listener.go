package peer

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// maxBacklog bounds the streams that are open and not accepted yet, for each name.
const maxBacklog = 128

// Listener takes the streams of one name that others open with [Mesh.Dial]. Its methods may be called at the same time.
type Listener struct {
	mesh      *Mesh
	name      string
	webSocket bool // takes WebSocket clients, too

	places  chan struct{} // one for each stream that is not accepted yet
	streams chan *Stream  // has room for all places

	mu     sync.Mutex
	ended  bool          // guarded by mu
	closed chan struct{} // closed by Close
}

var _ net.Listener = (*Listener)(nil)

// Listen takes the streams of that name, which any member may open, any number of times, with [Mesh.Dial]. So an
// http.Server, or a server of any other protocol, can serve on the mesh.
//
// A name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores, and is in use once in a node: by Listen,
// by [Mesh.ListenWebSocket] or by [Mesh.OnStream].
func (m *Mesh) Listen(name string) (*Listener, error) { return m.listen(name, false) }

// ListenWebSocket is Listen for clients of the WebSocket protocol (RFC 6455) beside nodes: a program in any language that
// runs as our user connects to the node's socket and asks for /stream/NAME. [Stream.Peer] of such a client has the id
// -1 and its process id. It names no cluster and is no member.
//
// The streams carry WebSocket frames. The handshake is done, with no subprotocol and no extension; what follows is for
// framing.New, and the same on the other side if that is a node.
//
// The header Origin is not looked at: no browser gets at the socket. A proxy that lets one has to do it.
func (m *Mesh) ListenWebSocket(name string) (*Listener, error) { return m.listen(name, true) }

func (m *Mesh) listen(name string, webSocket bool) (*Listener, error) {
	l := &Listener{
		mesh:      m,
		name:      name,
		webSocket: webSocket,
		places:    make(chan struct{}, maxBacklog),
		streams:   make(chan *Stream, maxBacklog),
		closed:    make(chan struct{}),
	}
	if err := m.addListener(l); err != nil {
		return nil, fmt.Errorf("peer: listen for streams %q: %w", name, err)
	}
	return l, nil
}

func (m *Mesh) addListener(l *Listener) error {
	if err := checkStream(l.name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return net.ErrClosed
	}
	if err := m.checkUnusedLocked(l.name); err != nil {
		return err
	}
	m.listeners[l.name] = l
	return nil
}

// checkUnusedLocked returns an error when this node has something that takes streams of that name.
func (m *Mesh) checkUnusedLocked(name string) error {
	if m.offers[name] != nil || m.listeners[name] != nil || name == linkStream {
		return errors.New("the name is in use in this node: choose another")
	}
	return nil
}

// listener returns what takes the streams of that name, or nil.
func (m *Mesh) listener(name string) *Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listeners[name]
}

// Accept returns the next stream, a *Stream. It waits until there is one or the Listener or the Mesh is closed. Then its
// error Is [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	stream, err := l.AcceptStream()
	if err != nil {
		return nil, err // and not a nil stream in an interface
	}
	return stream, nil
}

// AcceptStream is Accept with the type of what it returns.
func (l *Listener) AcceptStream() (*Stream, error) {
	select {
	case stream := <-l.streams:
		<-l.places
		return stream, nil
	case <-l.closed:
	case <-l.mesh.closing:
	}
	return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
}

// Close refuses the streams to come, closes those that nobody has accepted, and ends Accept. The streams that were
// accepted stay open. It may be called again.
func (l *Listener) Close() error {
	l.mesh.mu.Lock()
	if l.mesh.listeners[l.name] == l {
		delete(l.mesh.listeners, l.name)
	}
	l.mesh.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil
	}
	l.ended = true
	close(l.closed)
	for {
		select {
		case stream := <-l.streams:
			_ = stream.Close() // nobody has used it
		default:
			return nil
		}
	}
}

// Addr returns the path of our node's socket.
func (l *Listener) Addr() net.Addr { return socketAddr(l.mesh.dir, l.mesh.self) }

// Name returns the name of the streams.
func (l *Listener) Name() string { return l.name }

// admit takes a place for a stream.
func (l *Listener) admit(a admission) (admission, *refusedError) {
	select {
	case l.places <- struct{}{}:
		a.handle, a.drop = l.deliver, func() { <-l.places }
		return a, nil
	default:
		return a, refuse(http.StatusServiceUnavailable, "%d streams %q are waiting to be accepted", maxBacklog, a.name)
	}
}

// deliver gives a stream that has a place to Accept.
func (l *Listener) deliver(stream *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = stream.Close() // nobody has used it
		return
	}
	l.streams <- stream // there is room, since it has a place
}
