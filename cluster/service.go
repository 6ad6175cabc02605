package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// idleListener stands for a port in a master that does not listen: nothing ever arrives.
type idleListener struct {
	addr   net.Addr
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*idleListener)(nil)

func newIdleListener(addr net.Addr) *idleListener {
	return &idleListener{addr: addr, closed: make(chan struct{})}
}

// Accept blocks until Close.
func (l *idleListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
}

// Close ends Accept.
func (l *idleListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address on which the other nodes listen.
func (l *idleListener) Addr() net.Addr { return l.addr }

// service is the user's server at work on the node's listener.
type service struct {
	server   Server
	serving  bool // server runs; else the user serves, or nobody listens
	listener *acceptor
	ended    chan struct{} // closed when Serve has returned
	err      error         // with which Serve returned; readable after ended
}

// serve is a goroutine that shutdown ends and waits for.
func (s *service) serve() {
	defer close(s.ended)
	s.err = s.server.Serve(s.listener)
	if s.err == nil || errors.Is(s.err, http.ErrServerClosed) {
		s.err = fmt.Errorf("the server for %v stopped by itself: %w", s.listener.Addr(), http.ErrServerClosed)
		return
	}
	s.err = fmt.Errorf("serve %v: %w", s.listener.Addr(), s.err)
}

// shutdown stops accepting and waits for the requests in flight until ctx is done; those that are left are cut then.
func (s *service) shutdown(ctx context.Context) error {
	if !s.serving {
		return closeListener(s.listener)
	}
	err := s.server.Shutdown(ctx)
	if ctx.Err() != nil {
		if closer, ok := s.server.(interface{ Close() error }); ok {
			err = join(err, closer.Close())
		}
	}
	err = join(err, closeListener(s.listener))
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
