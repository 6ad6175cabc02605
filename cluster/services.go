package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// services are the servers of a node, and their gentle end.
type services struct {
	hijackTimeout time.Duration // from told until connections that handlers have taken over are closed; 0: as long as the drain

	told context.Context // done when no new connection comes any more, or when some wait that nobody accepts
	tell context.CancelFunc

	mu     sync.Mutex // guards what follows
	all    []*service
	ending bool // the drain has begun
	left   bool // no connection comes any more, and no server is added
}

func newServices(hijackTimeout time.Duration) *services {
	s := &services{hijackTimeout: hijackTimeout}
	s.told, s.tell = context.WithCancel(context.Background())
	return s
}

// errServed is the error of a server, or of a listener, that has been given to Serve before.
var errServed = errors.New("it is served already")

// add makes the service of server on listeners. It returns nil when no connection comes any more; before, also in a
// drain, the listeners may have some. It is here that an *http.Server gets its hooks, so it must not serve yet.
func (s *services) add(server Server, listeners []net.Listener, n *Node) (*service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return nil, nil
	}
	for _, other := range s.all {
		if err := other.excludes(server, listeners); err != nil {
			return nil, err
		}
	}
	one := newService(server, listeners)
	if h := httpServer(server); h != nil {
		one.traffic = watchTraffic(h)
		n.provide(h)
	}
	if s.ending {
		one.end()
	}
	s.all = append(s.all, one)
	return one, nil
}

// list returns all services.
func (s *services) list() []*service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// load returns how many connections are open and how many requests in flight, of *http.Servers. A connection that a
// handler has hijacked is none of the server's any more, but its handler is a request in flight until it returns.
func (s *services) load() (connections, requests int) {
	for _, one := range s.list() {
		if one.traffic != nil {
			connections += int(one.traffic.connections.Load())
			requests += int(one.traffic.requests.Load())
		}
	}
	return connections, requests
}

// serving returns the service that has the port with the address, nil if there is none.
func (s *services) serving(addr net.Addr) *service {
	for _, one := range s.list() {
		if slices.ContainsFunc(one.listeners, func(l net.Listener) bool { return l.Addr().String() == addr.String() }) {
			return one
		}
	}
	return nil
}

// drain ends all services without losing a connection or a request, as far as ctx gives it the time:
//
//  1. from now on responses of *http.Servers tell the clients to use their connections no more;
//  2. leave is called, which steers new connections away, empties the queues and closes the listeners, while the servers go
//     on as before;
//  3. told is done;
//  4. connections that are open have until the end of the lame duck to send one more request and be told, or to be ended
//     by the program;
//  5. the Shutdown of each server waits for requests in flight;
//  6. connections that a server has left to others, such as hijacked ones, end by themselves.
//
// What is left when ctx is done is cut. A drain can be had once.
func (s *services) drain(ctx context.Context, lameDuck time.Duration, leave func(context.Context) error) error {
	s.end()
	err := leave(ctx)
	all := s.leave()
	s.tell()
	hijack := ctx
	if s.hijackTimeout > 0 {
		var cancel context.CancelFunc
		hijack, cancel = context.WithTimeout(ctx, s.hijackTimeout)
		defer cancel()
	}
	errs := make([]error, len(all))
	var drains sync.WaitGroup
	for i, one := range all {
		drains.Go(func() { errs[i] = one.drain(ctx, hijack, lameDuck) }) // ends soon after ctx
	}
	drains.Wait()
	for _, drainErr := range errs {
		err = join(err, drainErr)
	}
	return err
}

// end begins the drain: from now on clients are told to leave.
func (s *services) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for _, one := range s.all {
		one.end()
	}
}

// leave lets no server be added any more, and returns all.
func (s *services) leave() []*service {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	return s.all
}

// excludes returns an error if server or one of listeners is at work in this service.
func (s *service) excludes(server Server, listeners []net.Listener) error {
	if h := httpServer(server); h != nil && h == httpServer(s.server) {
		return fmt.Errorf("the server is given twice: %w: one call of Serve takes all its listeners", errServed)
	}
	for _, l := range listeners {
		if a, ok := l.(*acceptor); ok && slices.Contains(s.listeners, net.Listener(a)) {
			return fmt.Errorf("the port %v has a server: %w: for another port take a listener of Node.Listen", l.Addr(), errServed)
		}
	}
	return nil
}
