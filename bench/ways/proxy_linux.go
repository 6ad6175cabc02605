package ways

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// proxy accepts connections, makes another one to a worker's Unix socket for each, and copies in both directions.
// Between sockets io.Copy is splice(2).
type proxy struct {
	listener *net.TCPListener
	running  sync.WaitGroup // the loop that accepts, and those that copy

	next atomic.Uint64

	mu    sync.RWMutex // guards seats, and while it is held for reading, none is closed
	seats []*socket    // of workers that are ready
}

// socket is that of a worker.
type socket struct {
	of   *proxy
	addr *net.UnixAddr
}

func newProxy(addr string) (*proxy, error) {
	l, err := listen(addr)
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l}
	p.running.Go(p.accept) // ended by close
	return p, nil
}

func (p *proxy) addr() net.Addr { return p.listener.Addr() }

// seat makes a socket that the kernel names.
func (p *proxy) seat() (seat, []*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	file, err := l.File()
	return &socket{of: p, addr: l.Addr().(*net.UnixAddr)}, []*os.File{file}, err
}

func (s *socket) open() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.seats = append(s.of.seats, s)
}

func (s *socket) close() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.seats = slices.DeleteFunc(s.of.seats, func(one *socket) bool { return one == s })
}

// dial connects to the next worker, or the one after it if its queue is full.
func (p *proxy) dial() (conn *net.UnixConn, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	err = errors.New("no worker")
	for range p.seats {
		i := p.next.Add(1) % uint64(len(p.seats))
		if conn, err = net.DialUnix("unix", nil, p.seats[i].addr); err == nil {
			break
		}
	}
	return conn, err
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "ways: accept:", err)
			continue
		}
		p.running.Go(func() { p.serve(client) }) // ends with one of the two connections; close waits for it
	}
}

func (p *proxy) serve(client *net.TCPConn) {
	defer client.Close()
	server, err := p.dial()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ways: proxy:", err)
		return
	}
	defer server.Close()
	var requests sync.WaitGroup
	requests.Go(func() { // ends with the client, or when the server has
		_, _ = io.Copy(server, client) // an error is an end, too
		_ = server.CloseWrite()
	})
	_, _ = io.Copy(client, server)
	_ = client.CloseWrite()
	_ = client.CloseRead() // HTTP: no answer comes for what it still sends
	requests.Wait()
}

func (p *proxy) close() error {
	err := p.listener.Close()
	p.running.Wait()
	return err
}
