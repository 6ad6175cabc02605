package ways

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
)

// proxy accepts connections, makes another one to a worker's Unix socket for each, and copies in both directions.
// Between sockets io.Copy is splice(2).
type proxy struct {
	listener *net.TCPListener
	accepted chan struct{} // closed when the loop has ended
	copying  sync.WaitGroup

	next atomic.Uint64
	made atomic.Uint64

	mu    sync.RWMutex // guards seats, and while it is held for reading, none is closed
	seats []*socket    // that are open
}

// socket is that of a worker.
type socket struct {
	of   *proxy
	addr *net.UnixAddr
	file *os.File // for the worker
}

func newProxy(addr string) (*proxy, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l.(*net.TCPListener), accepted: make(chan struct{})} // it is one, for "tcp"
	go p.accept()                                                              // ended by close
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// hire makes a socket without a file.
func (p *proxy) hire(cmd *exec.Cmd) (seat, error) {
	name := fmt.Sprintf("@multinode-ways-%s-%d", pid, p.made.Add(1))
	s := &socket{of: p, addr: &net.UnixAddr{Name: name, Net: "unix"}}
	l, err := net.ListenUnix("unix", s.addr)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if s.file, err = l.File(); err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{s.file}
	return s, nil
}

func (s *socket) open() error {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.seats = append(s.of.seats, s)
	return s.file.Close() // the worker has it
}

func (s *socket) close() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.seats = slices.DeleteFunc(s.of.seats, func(one *socket) bool { return one == s })
}

func (s *socket) free() {
	s.close()
	_ = s.file.Close() // open may have done it
}

// dial connects to the next worker, or the one after it if its queue is full.
func (p *proxy) dial() (*net.UnixConn, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	err := errors.New("no worker")
	for range p.seats {
		var conn *net.UnixConn
		i := p.next.Add(1) % uint64(len(p.seats))
		if conn, err = net.DialUnix("unix", nil, p.seats[i].addr); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (p *proxy) accept() {
	defer close(p.accepted)
	for {
		client, err := p.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "ways: accept:", err)
			continue
		}
		p.copying.Go(func() { p.serve(client) }) // ends with one of the two connections; close waits for it
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
	<-p.accepted
	p.copying.Wait()
	return err
}
