package bus

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// socket is a socket that can write what it takes at once, so that package framing needs no write deadline.
type socket struct {
	net.Conn
	raw syscall.RawConn

	mu      sync.Mutex
	attempt func(fd uintptr) bool // made once, since a new one would allocate
	p       []byte                // guarded by mu; what to write
	n       int                   // guarded by mu
	err     error                 // guarded by mu
}

// socketOf returns conn with a TryWrite if it is a socket of the kernel's. Those of package net do not block.
func socketOf(conn net.Conn) io.ReadWriteCloser {
	kernel, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := kernel.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{Conn: conn, raw: raw}
	s.attempt = s.try
	return s
}

// TryWrite writes what the socket takes at once, which may be nothing.
func (s *socket) TryWrite(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p = p
	err := s.raw.Write(s.attempt)
	s.p = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}

// try is called with the descriptor. That it returns true means not to wait for it.
func (s *socket) try(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), s.p)
		switch err {
		case syscall.EINTR:
			continue
		case nil:
			s.n, s.err = n, nil
		case syscall.EAGAIN:
			s.n, s.err = 0, nil
		default:
			s.n, s.err = 0, &net.OpError{Op: "write", Net: "unix", Err: os.NewSyscallError("write", err)}
		}
		return true
	}
}
