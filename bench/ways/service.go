//go:build linux

package ways

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// silence is how long a connection may have sent nothing before a worker that ends closes it, as http.Server.Shutdown has
// it.
const silence = 5 * time.Second

// service is the HTTP server of a crew's worker, which ends without losing a request. Shutdown alone would not do:
// from its call on, net/http closes a connection whose first request it has not read yet.
type service struct {
	*http.Server
	open sync.WaitGroup // connections
}

func newService() *service {
	s := &service{Server: newServer()}
	s.ConnState = s.count
	return s
}

func (s *service) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Done()
	default:
	}
}

// run serves until the listener ends, finishes what has begun, and returns the listener's error.
func (s *service) run(l net.Listener) error {
	sayWorkers(1, l.Addr().String())
	err := s.Serve(l)
	s.SetKeepAlivesEnabled(false) // it also closes idle connections
	finished := make(chan struct{})
	go func() { // ends with the connections, at the latest by Close
		s.open.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return err
	case <-time.After(silence):
		return errors.Join(err, shutdown(s), s.Close())
	}
}
