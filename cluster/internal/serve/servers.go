// Package serve runs the servers of a process on its listeners, and ends them without losing a connection or a request.
//
// [Servers] are the servers at work. Each [http.Server] among them has hooks that count its connections and requests; of any
// other server the open connections are read from the process's descriptors, see [AwaitClosed]. [Servers.Drain] ends them
// all: it knows when to close listeners, to tell clients, to call Shutdown and to cut what is left. How new connections are
// steered away before, so that none waits in a queue that is closed, is a function of the caller.
//
// An [Acceptor] is the listener that such a server gets: its accept loop can be proved to be alive, probe connections never
// reach the server, and the socket below can change. An [IdleListener] is the listener of a process that does not listen.
//
// The package knows one process and its sockets. It knows nothing of other processes that share a port, or of a master.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/errline"
)

// Server is an [http.Server], or any other server with these methods. Serve accepts until Shutdown, or until its
// listener is closed, or until it fails. Shutdown waits for the work in progress until ctx is done; then Close() error is
// called, if the server has it.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// HTTPServer returns the *http.Server that server is, or that its method HTTPServer() *http.Server returns; nil if it is
// neither.
func HTTPServer(server Server) *http.Server {
	switch s := server.(type) {
	case *http.Server:
		return s
	case interface{ HTTPServer() *http.Server }:
		return s.HTTPServer()
	}
	return nil
}

// Config configures Servers. The zero value works.
type Config struct {
	// HijackTimeout is how long hijacked connections have to end, from the moment from which no new connections arrive. 0 is as
	// long as the drain.
	HijackTimeout time.Duration

	// PrepareHTTP, if not nil, is called with each *http.Server before it serves, to set hooks of the caller's.
	PrepareHTTP func(*http.Server)
}

// Servers are the servers of a process and their drain. All methods may be called at the same time.
type Servers struct {
	config Config

	draining context.Context // done when no new connections arrive, or by AnnounceDraining
	announce context.CancelFunc

	mu     sync.Mutex // guards the fields below
	all    []*service
	ending bool // the drain has begun
	left   bool // no connections arrive, and no server is added
}

// New returns Servers without a server.
func New(config Config) *Servers {
	s := &Servers{config: config}
	s.draining, s.announce = context.WithCancel(context.Background())
	return s
}

// errServed is the error of a server, or of a listener, that has been given to Serve before.
var errServed = errors.New("it is served already")

// Serve makes server serve the listeners in the background, until the drain. failed is called with the error of a server that
// ends by itself, once for each of its listeners and from any goroutine. Serve installs hooks in an *http.Server, so it must not
// serve yet.
//
// Once no connections arrive Serve does nothing and returns nil; before, also in a drain, the listeners may have some. It returns
// an error if the *http.Server, or an [Acceptor] among listeners, is served already.
func (s *Servers) Serve(server Server, listeners []net.Listener, failed func(error)) error {
	one, err := s.add(server, listeners)
	if one == nil || err != nil {
		return err
	}
	go one.serve(failed) // ends with the drain, which waits for it
	return nil
}

// add makes the service of server on listeners. It returns nil once no connections arrive.
func (s *Servers) add(server Server, listeners []net.Listener) (*service, error) {
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
	if h := HTTPServer(server); h != nil {
		one.traffic = watchTraffic(h)
		if s.config.PrepareHTTP != nil {
			s.config.PrepareHTTP(h)
		}
	}
	if s.ending {
		one.end()
	}
	s.all = append(s.all, one)
	return one, nil
}

// list returns all services.
func (s *Servers) list() []*service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// Load returns the open connections and the requests in flight of all *http.Servers. A hijacked connection is not counted,
// but its handler is a request in flight until it returns.
func (s *Servers) Load() (connections, requests int) {
	for _, one := range s.list() {
		if one.traffic != nil {
			connections += int(one.traffic.connections.Load())
			requests += int(one.traffic.requests.Load())
		}
	}
	return connections, requests
}

// Serves reports whether a server has a listener with the address.
func (s *Servers) Serves(addr net.Addr) bool { return s.serving(addr) != nil }

// Counts reports whether an *http.Server has a listener with the address, so that its connections are counted.
func (s *Servers) Counts(addr net.Addr) bool {
	one := s.serving(addr)
	return one != nil && one.traffic != nil
}

// serving returns the service that has a listener with the address, nil if there is none.
func (s *Servers) serving(addr net.Addr) *service {
	for _, one := range s.list() {
		if slices.ContainsFunc(one.listeners, func(l net.Listener) bool { return l.Addr().String() == addr.String() }) {
			return one
		}
	}
	return nil
}

// Draining returns a context that is done when no new connections arrive, see [Servers.Drain]. It has no deadline and no values.
func (s *Servers) Draining() context.Context { return s.draining }

// AnnounceDraining ends the context of Draining early: connections wait in a queue, and the server accepts them only when
// handlers return that wait for Draining.
func (s *Servers) AnnounceDraining() { s.announce() }

// Drain ends all servers without losing a connection or a request, as far as ctx gives it the time:
//
//  1. from now on responses of *http.Servers ask the clients to close their connections, as after BeginDrain;
//  2. leave is called, which steers new connections away, empties the queues and closes the listeners, while the servers
//     continue as before;
//  3. the context of Draining is done;
//  4. open connections have until the end of the lame duck to send one more request, whose response asks the client to
//     close the connection, or to be ended by the program;
//  5. the Shutdown of each server waits for requests in flight;
//  6. connections that a server has left to others, such as hijacked ones, end by themselves.
//
// What is left when ctx is done is cut. An error of leave does not end the drain, and is returned with the others. Call
// Drain once.
func (s *Servers) Drain(ctx context.Context, lameDuck time.Duration, leave func(context.Context) error) error {
	s.BeginDrain()
	err := leave(ctx)
	all := s.leave()
	s.announce()
	hijack := ctx
	if s.config.HijackTimeout > 0 {
		var cancel context.CancelFunc
		hijack, cancel = context.WithTimeout(ctx, s.config.HijackTimeout)
		defer cancel()
	}
	errs := make([]error, len(all))
	var drains sync.WaitGroup
	for i, one := range all {
		drains.Go(func() { errs[i] = one.drain(ctx, hijack, lameDuck) }) // ends soon after ctx
	}
	drains.Wait()
	for _, drainErr := range errs {
		err = errline.Join(err, drainErr)
	}
	return err
}

// BeginDrain is the first step of Drain, for a caller that cannot drain yet: from now on responses ask clients to close their
// connections.
func (s *Servers) BeginDrain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for _, one := range s.all {
		one.end()
	}
}

// leave returns all services. No server can be added after it.
func (s *Servers) leave() []*service {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	return s.all
}

// excludes returns an error if server or one of listeners is at work in this service.
func (s *service) excludes(server Server, listeners []net.Listener) error {
	if h := HTTPServer(server); h != nil && h == HTTPServer(s.server) {
		return fmt.Errorf("the server was passed to Serve twice: %w: pass all its listeners to one call of Serve", errServed)
	}
	for _, l := range listeners {
		if a, ok := l.(*Acceptor); ok && slices.Contains(s.listeners, net.Listener(a)) {
			return fmt.Errorf("the port %v has a server: %w: for another port use a listener of Node.Listen", l.Addr(), errServed)
		}
	}
	return nil
}
