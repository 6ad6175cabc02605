package peer

import (
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// maxHandshakes bounds the connections that are accepted and not streams yet, so that clients that connect and say
	// nothing cannot use up our descriptors. One more may be accepted and wait for a place.
	maxHandshakes = 64
	// grace is what each of them has at least for its request, however many wait. A node sends it at once.
	grace = 2 * time.Millisecond
)

// handshakes are the connections that are accepted and not streams yet. When all places are taken, the oldest that
// still owes its request gives way to the next. So a flood of idle connections passes through, 64 of them in each time
// of grace, and nobody waits behind it for the handshake's time-out.
type handshakes struct {
	places chan struct{} // one for each connection

	mu    sync.Mutex
	conns []*handshake // guarded by mu; the oldest first
}

type handshake struct {
	conn    net.Conn
	begin   time.Time
	asked   bool // its request is complete, and the answer is not
	evicted bool // its place will be free when the server has seen that it is closed
}

func newHandshakes() *handshakes { return &handshakes{places: make(chan struct{}, maxHandshakes)} }

// enter adds conn when there is room for it. It returns false when closing comes first.
func (h *handshakes) enter(conn net.Conn, closing <-chan struct{}) bool {
	for {
		select {
		case h.places <- struct{}{}:
			h.add(conn)
			return true
		default:
		}
		timer := time.NewTimer(h.evict(time.Now()))
		select {
		case h.places <- struct{}{}:
			timer.Stop()
			h.add(conn)
			return true
		case <-timer.C:
		case <-closing:
			timer.Stop()
			return false
		}
	}
}

func (h *handshakes) add(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, &handshake{conn: conn, begin: time.Now()})
}

// evict closes the oldest connection that owes its request and has had its grace, unless there is one closed already
// whose place is about to be free. It returns when to look again.
func (h *handshakes) evict(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.conns, func(shake *handshake) bool { return shake.evicted }) {
		return grace
	}
	oldest := slices.IndexFunc(h.conns, func(shake *handshake) bool { return !shake.asked })
	if oldest < 0 {
		return grace
	}
	shake := h.conns[oldest]
	if left := grace - now.Sub(shake.begin); left > 0 {
		return left
	}
	shake.evicted = true
	_ = shake.conn.Close() // its server goroutine sees the error
	return grace
}

// setAsked says that the request of conn is complete, or that it has been answered.
func (h *handshakes) setAsked(conn net.Conn, asked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, shake := range h.conns {
		if shake.conn == conn {
			shake.asked = asked
		}
	}
}

// leave frees the place of conn, which is closed or a stream.
func (h *handshakes) leave(conn net.Conn) {
	h.mu.Lock()
	h.conns = slices.DeleteFunc(h.conns, func(shake *handshake) bool { return shake.conn == conn })
	h.mu.Unlock()
	<-h.places
}
