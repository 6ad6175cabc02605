package peer

import (
	"fmt"
	"net"
	"sync"
)

// maxBacklog bounds the streams that are open and not accepted yet, for each name.
const maxBacklog = 128

// Listener accepts the streams of one name that members open with [Mesh.Dial]. Its methods may be called concurrently.
type Listener struct {
	home      *streams
	name      string
	webSocket bool // accepts WebSocket clients, too

	places  chan struct{} // one for each stream that is not accepted yet
	streams chan *Stream  // has room for all places

	mu     sync.Mutex
	ended  bool          // guarded by mu
	closed chan struct{} // closed by Close
}

var _ net.Listener = (*Listener)(nil)

// listen is Mesh.Listen and Mesh.ListenWebSocket.
func (st *streams) listen(name string, webSocket bool) (*Listener, error) {
	l := &Listener{
		home:      st,
		name:      name,
		webSocket: webSocket,
		places:    make(chan struct{}, maxBacklog),
		streams:   make(chan *Stream, maxBacklog),
		closed:    make(chan struct{}),
	}
	if err := st.addListener(l); err != nil {
		return nil, fmt.Errorf("peer: listen for streams %q: %w", name, err)
	}
	return l, nil
}

func (st *streams) addListener(l *Listener) error {
	if err := checkStream(l.name); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		return net.ErrClosed
	}
	if err := st.checkUnusedLocked(l.name); err != nil {
		return err
	}
	st.listeners[l.name] = l
	return nil
}

// listener returns the listener for streams of that name, or nil.
func (st *streams) listener(name string) *Listener {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.listeners[name]
}

// Accept waits for the next stream, a *Stream. After Close of the Listener or the Mesh its error Is [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case stream := <-l.streams:
		l.freePlace()
		return stream, nil
	case <-l.closed:
	case <-l.home.closing:
	}
	return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
}

// Close refuses further streams, closes those that were not accepted, and ends Accept. Accepted streams stay open.
func (l *Listener) Close() error {
	l.home.mu.Lock()
	if l.home.listeners[l.name] == l {
		delete(l.home.listeners, l.name)
	}
	l.home.mu.Unlock()
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
			_ = stream.Close() // it was never used
		default:
			return nil
		}
	}
}

// Addr returns the path of this node's socket.
func (l *Listener) Addr() net.Addr { return socketAddr(l.home.dir, l.home.self) }

// takePlace takes a place for a stream, to be used by deliver or freed by freePlace. It returns false if there is none.
func (l *Listener) takePlace() bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *Listener) freePlace() { <-l.places }

// deliver passes a stream that has a place to Accept.
func (l *Listener) deliver(stream *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = stream.Close() // it was never used
		return
	}
	l.streams <- stream // there is room, since it has a place
}
