package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// service is the user's server at work on the node's listener, and its gentle end.
type service struct {
	server        Server
	serving       bool // server runs; else the user serves, or nobody listens
	listener      *acceptor
	traffic       *traffic      // nil for a server that is not an *http.Server
	lameDuck      time.Duration // how long idle connections stay open in a drain
	hijackTimeout time.Duration // how long after they were told hijacked handlers may go on; 0: as long as the drain

	told  context.Context // done when the drain or the shutdown has begun
	tell  context.CancelFunc
	ended chan struct{} // closed when Serve has returned
	err   error         // why, unless it was told to; readable after ended
}

// newService makes the service of server on listener. It is here that an *http.Server gets its hooks, so it must not
// serve yet.
func newService(server Server, listener *acceptor, serving bool, lameDuck time.Duration) *service {
	s := &service{
		server: server, serving: serving, listener: listener, lameDuck: lameDuck, ended: make(chan struct{}),
	}
	s.told, s.tell = context.WithCancel(context.Background())
	if h := httpServer(server); serving && h != nil {
		s.traffic = watchTraffic(h)
	}
	return s
}

// serve is a goroutine that drain and shutdown end and wait for.
func (s *service) serve() {
	defer close(s.ended)
	err := s.server.Serve(s.listener)
	wanted := s.told.Err() != nil // first the listener is closed, which Serve may report, then the server
	switch stopped := err == nil || errors.Is(err, http.ErrServerClosed); {
	case wanted && (stopped || errors.Is(err, net.ErrClosed)):
	case stopped:
		s.err = fmt.Errorf("the server for %v stopped by itself: %w", s.listener.Addr(), http.ErrServerClosed)
	default:
		s.err = fmt.Errorf("serve %v: %w", s.listener.Addr(), err)
	}
}

// announce tells handlers and clients that the service is about to end.
func (s *service) announce() {
	if s.traffic != nil {
		s.traffic.draining.Store(true)
	}
	s.tell()
}

// draining is done as soon as the node drains.
func (s *service) draining() context.Context { return s.told }

// load returns how many connections are open and how many requests in flight; both are 0 for a server that is not an
// *http.Server. A connection that a handler has hijacked is none of the server's any more, but its handler is a request
// in flight until it returns.
func (s *service) load() (connections, requests int) {
	if s.traffic == nil {
		return 0, 0
	}
	return int(s.traffic.connections.Load()), int(s.traffic.requests.Load())
}

// shutdown stops accepting and waits for the requests in flight until ctx is done; those that are left are cut then.
func (s *service) shutdown(ctx context.Context) error {
	s.tell()
	if !s.serving {
		return s.listener.Close()
	}
	return s.finish(ctx, s.server.Shutdown(ctx))
}

// finish cuts what is left when ctx is done, and waits for the end of Serve; err is what has gone wrong until now.
func (s *service) finish(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if closer, ok := s.server.(interface{ Close() error }); ok {
			err = join(err, closer.Close())
		}
	}
	err = join(err, s.listener.Close())
	select {
	case <-s.ended:
	case <-ctx.Done(): // a Serve that does not return is left behind: the process ends
	}
	return err
}

// closeListener closes l, which a server may have done before.
func closeListener(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
