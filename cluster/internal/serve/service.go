package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/internal/errline"
)

// service is a server that works on its listeners, and the drain of it.
type service struct {
	server    Server
	listeners []net.Listener
	traffic   *traffic // nil for a server that is not an *http.Server

	ending atomic.Bool   // Serve may return
	ended  chan struct{} // closed when Serve has returned for each listener
}

func newService(server Server, listeners []net.Listener) *service {
	return &service{server: server, listeners: listeners, ended: make(chan struct{})}
}

// serve is a goroutine that drain ends and waits for. It calls failed when the server ends by itself.
func (s *service) serve(failed func(error)) {
	defer close(s.ended)
	var serving sync.WaitGroup
	for _, l := range s.listeners {
		serving.Go(func() {
			if err := s.serveOn(l); err != nil {
				failed(err)
			}
		})
	}
	serving.Wait()
}

// serveOn serves one listener. It returns an error if the server ends and the drain has not begun.
func (s *service) serveOn(l net.Listener) error {
	err := s.server.Serve(l)
	wanted := s.ending.Load() // first the listener is closed, which Serve may report, then the server
	switch stopped := err == nil || errors.Is(err, http.ErrServerClosed); {
	case wanted && (stopped || errors.Is(err, net.ErrClosed)):
		return nil
	case stopped:
		return fmt.Errorf("the server for %v stopped by itself: %w", l.Addr(), http.ErrServerClosed)
	default:
		return fmt.Errorf("serve %v: %w", l.Addr(), err)
	}
}

// end begins the drain: the server may end, and asks its clients to close their connections.
func (s *service) end() {
	s.ending.Store(true)
	if s.traffic != nil {
		s.traffic.draining.Store(true)
	}
}

// addrs returns the addresses of the listeners.
func (s *service) addrs() (all []net.Addr) {
	for _, l := range s.listeners {
		all = append(all, l.Addr())
	}
	return all
}

// closeListeners closes the listeners that are not closed yet.
func (s *service) closeListeners() (err error) {
	for _, l := range s.listeners {
		err = errline.Join(err, closeListener(l))
	}
	return err
}

// finish closes the server by force if ctx is done, and waits for the end of Serve. err is the error so far.
func (s *service) finish(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if closer, ok := s.server.(interface{ Close() error }); ok {
			err = errline.Join(err, closer.Close())
		}
	}
	err = errline.Join(err, s.closeListeners())
	select {
	case <-s.ended:
	case <-ctx.Done(): // a Serve that does not return is left behind: the process ends
	}
	return err
}

// drain ends the service when no new connections arrive, see [Servers.Drain].
func (s *service) drain(ctx, hijack context.Context, lameDuck time.Duration) error {
	if s.traffic == nil {
		hijack = ctx
		s.awaitUncounted(ctx, lameDuck)
	} else {
		s.awaitCounted(ctx, lameDuck)
	}
	err := s.server.Shutdown(ctx)
	if s.traffic != nil {
		err = errline.Join(err, s.awaitHijacked(hijack))
	}
	if err == nil {
		err = AwaitClosed(hijack, s.addrs())
	}
	return s.finish(ctx, err)
}

// awaitCounted waits until no connection of an *http.Server is open, at most for the time of the lame duck. Serve returns
// when the listeners are closed, and only then is the connection that was accepted last counted: Shutdown would drop it
// before it has sent its request.
func (s *service) awaitCounted(ctx context.Context, lameDuck time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lameDuck)
	defer cancel()
	_ = s.closeListeners() // finish does it again, and returns the error
	select {
	case <-s.ended:
	case <-ctx.Done():
		return
	}
	_ = s.traffic.await(ctx, &s.traffic.connections) // Shutdown waits for those that are still open
}

// awaitUncounted does the same for any other server. Its Serve continues: some servers end all connections when Accept ends.
func (s *service) awaitUncounted(ctx context.Context, lameDuck time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lameDuck)
	defer cancel()
	_ = AwaitClosed(ctx, s.addrs()) // Shutdown waits for those that are still open
}

// awaitHijacked waits for the handlers of hijacked connections: after Shutdown no others are left. It closes the connections of
// handlers that do not return.
func (s *service) awaitHijacked(ctx context.Context) error {
	err := s.traffic.await(ctx, &s.traffic.requests)
	if err == nil {
		return nil
	}
	if cut := s.traffic.cut(); cut > 0 {
		return fmt.Errorf("%d connections that handlers had taken over were cut: %w", cut, err)
	}
	return nil // Shutdown has returned an error for all else that is left
}

// closeListener closes l, unless the server has.
func closeListener(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
