package ways

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// receiver is a net.Listener whose connections come from a passer. Accept returns io.EOF when there will be no more.
type receiver struct {
	socket *os.File // non-blocking: Go's poller waits for it
	raw    syscall.RawConn
	local  net.Addr
	tally  *tally

	// Of the goroutine that accepts.
	waiting []*conn
	text    []byte
	rights  []byte
}

var _ net.Listener = (*receiver)(nil)

func newReceiver(socket *os.File, local net.Addr, tally *tally) (*receiver, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &receiver{
		socket: socket, raw: raw, local: local, tally: tally,
		text: make([]byte, maxBatch*len(wireAddr{})), rights: make([]byte, unix.CmsgSpace(maxBatch*4)), // an int32 each
	}, nil
}

func (r *receiver) Addr() net.Addr { return r.local }

func (r *receiver) Close() error { return r.socket.Close() }

func (r *receiver) Accept() (net.Conn, error) {
	for len(r.waiting) == 0 {
		if err := r.receive(); err != nil {
			return nil, err
		}
	}
	next := r.waiting[0]
	r.waiting = r.waiting[1:]
	return next, nil
}

// receive reads one message.
func (r *receiver) receive() error {
	var n, rights int
	var err error
	waitErr := r.raw.Read(func(fd uintptr) bool {
		n, rights, _, _, err = unix.Recvmsg(int(fd), r.text, r.rights, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	if err := errors.Join(waitErr, os.NewSyscallError("recvmsg", err)); err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	return r.unpack(r.text[:n], r.rights[:rights])
}

func (r *receiver) unpack(text, rights []byte) error {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		fmt.Fprintln(os.Stderr, "ways: connections are lost: is the limit of open files reached?")
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	r.tally.taken.Add(uint64(len(fds)))
	r.waiting = r.waiting[:0]
	for i, fd := range fds {
		const size = len(wireAddr{})
		client := wireAddr(text[i*size:])
		r.waiting = append(r.waiting, &conn{File: os.NewFile(uintptr(fd), "tcp"), of: r, remote: client.tcp()})
	}
	return nil
}

// conn is a TCP connection that was accepted elsewhere. An os.File of a non-blocking descriptor has deadlines and
// waits in Go's poller as a net.TCPConn does. net.FileConn would make one, but takes a dup, a close, and three calls to
// ask the kernel for what is known.
type conn struct {
	*os.File
	of     *receiver
	remote *net.TCPAddr
}

var _ net.Conn = (*conn)(nil)

func (c *conn) LocalAddr() net.Addr  { return c.of.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.File.Read(b)
	return n, netError("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.File.Write(b)
	return n, netError("write", err)
}

func (c *conn) Close() error {
	err := c.File.Close()
	if err == nil {
		c.of.tally.closed.Add(1)
	}
	return netError("close", err)
}

// CloseWrite sends the end, as net/http does where it has not read all of a request.
func (c *conn) CloseWrite() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var shutErr error
	err = raw.Control(func(fd uintptr) { shutErr = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(err, os.NewSyscallError("shutdown", shutErr))
}

// netError makes an error as those of a net.TCPConn, by which net/http tells a time-out and a client that has gone.
func netError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if path := new(os.PathError); errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}

// runReceiver is a worker that serves what it is given until there is no more.
func runReceiver(t task) error {
	if err := unix.SetNonblock(firstFile, true); err != nil { // whatever os/exec made of it
		return err
	}
	socket, file := os.NewFile(firstFile, "connections"), os.NewFile(firstFile+1, "tally")
	kept, err := openTally(file)
	if err != nil {
		return err
	}
	local, err := net.ResolveTCPAddr("tcp", t.Addr)
	if err != nil {
		return err
	}
	l, err := newReceiver(socket, local, kept)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if err := serveCrew(l); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
