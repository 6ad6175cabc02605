//go:build unix

package framing

import (
	"fmt"
	"io"
	"syscall"
)

// trier writes what a stream of the kernel's takes at once, which may be nothing. Those of package net do not block.
type trier struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // try; a method value would allocate each time

	p   []byte // what to write
	n   int
	err error
}

// trierOf returns nil if the stream is none of the kernel's.
func trierOf(stream io.Writer) *trier {
	kernel, ok := stream.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := kernel.SyscallConn()
	if err != nil {
		return nil
	}
	t := &trier{raw: raw}
	t.attempt = t.try
	return t
}

// write writes what the stream takes. One goroutine calls it at a time.
func (t *trier) write(p []byte) (int, error) {
	t.p = p
	err := t.raw.Write(t.attempt)
	t.p = nil
	if err != nil {
		return 0, err
	}
	return t.n, t.err
}

// try is called with the descriptor. That it returns true means not to wait for it.
func (t *trier) try(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), t.p)
		switch err {
		case syscall.EINTR:
			continue
		case nil:
			t.n, t.err = n, nil
		case syscall.EAGAIN:
			t.n, t.err = 0, nil
		default:
			t.n, t.err = 0, fmt.Errorf("write: %w", err)
		}
		return true
	}
}
