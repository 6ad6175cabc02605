package localhttp

import (
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// MaxHandshakes bounds the connections that are accepted and not streams yet, so that clients that connect and send
	// nothing cannot use up our descriptors. One more may be accepted and wait for a place.
	MaxHandshakes = 64
	// maxEvictions bounds the connections that are closed at once to make room. Each close waits until the server has seen it, so
	// that one after the other would delay the next connections.
	maxEvictions = MaxHandshakes / 4
	// grace is the least time that a connection has for its request, however many wait. A node sends it at once.
	grace = 2 * time.Millisecond
	// giveWayTimeout bounds the answer to a connection that gives way. It is the first thing written there, so the socket has
	// room for it at once; but we may lose the CPU before.
	giveWayTimeout = time.Second
)

// giveWay is the answer to a connection that has to give way.
const giveWay = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n" +
	"too many connections: this one has sent no request in time\n"

// handshakes are the accepted connections that are not streams yet. When all places are taken, the oldest connection that
// still owes its request gives way to the next. So a flood of idle connections passes through, 64 of them every grace, and
// no other connection waits behind it for the handshake's time-out.
type handshakes struct {
	places chan struct{} // one for each connection

	mu    sync.Mutex
	conns []*handshake // guarded by mu; the oldest first
}

type handshake struct {
	conn    *ownConn
	begin   time.Time
	asked   bool // its request is complete, and the answer is not
	evicted bool // its place will be free when the server has seen that it is closed
}

// ownConn is a connection of our own user. It marks its request as complete when the server reads it, and not when the server
// has parsed it: between the two, this process may lose the CPU for longer than the grace.
type ownConn struct {
	*net.UnixConn
	shakes *handshakes
	line   int  // bytes of the current line of the header, without its end
	whole  bool // the header is complete
}

func (c *ownConn) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	if !c.whole && c.endsHeader(b[:n]) {
		c.whole = true
		c.shakes.ask(c)
	}
	return n, err
}

// endsHeader reports whether the next bytes of a header contain its end, an empty line.
func (c *ownConn) endsHeader(b []byte) bool {
	for _, next := range b {
		switch {
		case next == '\n' && c.line == 0:
			return true
		case next == '\n':
			c.line = 0
		case next != '\r':
			c.line++
		}
	}
	return false
}

func newHandshakes() *handshakes { return &handshakes{places: make(chan struct{}, MaxHandshakes)} }

// enter adds conn when there is room for it. It returns false when closing comes first.
func (h *handshakes) enter(conn *ownConn, closing <-chan struct{}) bool {
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

func (h *handshakes) add(conn *ownConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, &handshake{conn: conn, begin: time.Now()})
}

// evict closes the oldest connections that owe their request and have had their grace, unless there are some whose places are
// about to be free. It returns when to look again.
func (h *handshakes) evict(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.conns, func(shake *handshake) bool { return shake.evicted }) {
		return grace
	}
	evicted := 0
	for _, shake := range h.conns {
		if left := grace - now.Sub(shake.begin); left > 0 && evicted == 0 {
			return left
		} else if left > 0 || evicted == maxEvictions {
			return grace
		}
		if !shake.asked && !shake.conn.unread() {
			shake.evicted = true
			shake.refuse()
			evicted++
		}
	}
	return grace
}

// refuse answers that the client may try again: without an answer, a node does not know whether its stream was opened. The
// server's goroutine notices that the connection is closed.
func (shake *handshake) refuse() {
	_ = shake.conn.SetWriteDeadline(time.Now().Add(giveWayTimeout))
	_, _ = shake.conn.Write([]byte(giveWay))
	_ = shake.conn.Close()
}

// ask marks the request of conn as complete. It returns false if conn had to give way meanwhile.
func (h *handshakes) ask(conn *ownConn) bool {
	return h.setAsked(conn, true)
}

// unask marks the request of conn as refused, or as incomplete: whatever it sends from now on does not secure its place.
func (h *handshakes) unask(conn *ownConn) { h.setAsked(conn, false) }

func (h *handshakes) setAsked(conn *ownConn, asked bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.conns, func(shake *handshake) bool { return shake.conn == conn })
	if i < 0 || h.conns[i].evicted { // a stream by now, or closed
		return false
	}
	h.conns[i].asked = asked
	return true
}

// release frees the place of conn, whose answer may take any time. It returns false if conn had to give way
// meanwhile.
func (h *handshakes) release(conn *ownConn) bool {
	if !h.ask(conn) { // from here on it is not evicted
		return false
	}
	h.leave(conn)
	return true
}

// leave frees the place of conn, which is closed, a stream or released. It may have left before.
func (h *handshakes) leave(conn *ownConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.conns, func(shake *handshake) bool { return shake.conn == conn })
	if i < 0 {
		return
	}
	h.conns = slices.Delete(h.conns, i, i+1)
	<-h.places // does not block: its own is one of them
}
