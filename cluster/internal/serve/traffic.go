package serve

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// traffic counts the connections and requests of an *http.Server, and asks its clients to close their connections once the drain
// has begun. It costs a request two atomic additions and two loads; the ResponseWriter is the server's own, so that handlers find
// all its abilities.
//
// A response whose header was written before the drain cannot carry Connection: close, and a response whose handler runs when the
// drain begins can only if the handler has written nothing when it returns: the header map is the handler's, so no other
// goroutine may touch it meanwhile, and SetKeepAlivesEnabled, which net/http has for this, closes idle connections at once. The
// connection of such a request becomes idle, and the response to its next request carries the header; after the lame duck,
// Shutdown makes net/http set the header by itself.
type traffic struct {
	draining    atomic.Bool
	connections atomic.Int64 // open, and not hijacked
	requests    atomic.Int64 // with a handler that has not returned
	hijacks     atomic.Int64 // number of hijacked, read without mu

	quiet chan struct{} // has room for one; gets a value in a drain when one of the counts reaches 0

	mu       sync.Mutex          // guards hijacked
	hijacked map[string]net.Conn // by remote address, until the handler has returned
}

// watchTraffic installs the hooks of a traffic in server, around those of the user. The server must not serve yet.
func watchTraffic(server *http.Server) *traffic {
	t := &traffic{quiet: make(chan struct{}, 1), hijacked: make(map[string]net.Conn)}
	server.Handler = t.handler(server.Handler)
	server.ConnState = t.connState(server.ConnState)
	return t
}

// handler returns next with the counts around it; a nil next is http.DefaultServeMux, as it is to a server.
func (t *traffic) handler(next http.Handler) http.Handler {
	if next == nil {
		next = http.DefaultServeMux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.requests.Add(1)
		defer t.returned(r.RemoteAddr) // also when the handler panics; it may put another address into r
		upgrade := false
		if t.draining.Load() {
			upgrade = r.Header.Get("Upgrade") != ""
			t.dismiss(w, upgrade)
		}
		next.ServeHTTP(w, r)
		if t.draining.Load() {
			t.dismiss(w, upgrade) // has an effect if the handler has written nothing and was there before the drain
		}
	})
}

// dismiss asks the client not to use the connection again; HTTP/2 makes a GOAWAY of it (RFC 9113, section 6.8). The response to
// an upgrade has a Connection header of its own: some clients refuse a second one.
func (*traffic) dismiss(w http.ResponseWriter, upgrade bool) {
	if !upgrade {
		w.Header().Set("Connection", "close")
	}
}

// returned notes that a handler has returned.
func (t *traffic) returned(remoteAddr string) {
	if t.hijacks.Load() > 0 {
		t.release(remoteAddr)
	}
	t.leave(&t.requests)
}

// connState returns next, which may be nil, with the counts before it.
func (t *traffic) connState(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			t.connections.Add(1)
		case http.StateHijacked:
			t.hold(conn)
			t.leave(&t.connections)
		case http.StateClosed:
			t.leave(&t.connections)
		case http.StateActive, http.StateIdle:
		}
		if next != nil {
			next(conn, state)
		}
	}
}

// hold remembers a connection that its handler has just hijacked.
func (t *traffic) hold(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	remoteAddr := "" // as in the request
	if addr := conn.RemoteAddr(); addr != nil {
		remoteAddr = addr.String()
	}
	t.hijacked[remoteAddr] = conn
	t.hijacks.Store(int64(len(t.hijacked)))
}

// release forgets the connection of a handler that has returned, if it was hijacked: it is the program's alone now.
func (t *traffic) release(remoteAddr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.hijacked, remoteAddr)
	t.hijacks.Store(int64(len(t.hijacked)))
}

// cut closes the hijacked connections whose handlers have not returned, and returns how many those were.
func (t *traffic) cut() int {
	t.mu.Lock()
	conns := slices.Collect(maps.Values(t.hijacked))
	t.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close() // TLS may wait for the peer a little
	}
	return len(conns)
}

func (t *traffic) leave(count *atomic.Int64) {
	if count.Add(-1) == 0 && t.draining.Load() {
		select {
		case t.quiet <- struct{}{}:
		default:
		}
	}
}

// await waits until count, one of the fields, is 0. One goroutine at a time may wait, and only in a drain.
func (t *traffic) await(ctx context.Context, count *atomic.Int64) error {
	for count.Load() > 0 {
		select {
		case <-t.quiet:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
