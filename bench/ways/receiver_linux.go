package ways

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// receiver is a net.Listener whose connections come from a passer. Accept returns io.EOF when there will be no more.
type receiver struct {
	*os.File // the socket
	local    net.Addr
	tally    *tally

	// Of the goroutine that accepts.
	waiting []*conn
	text    []byte
	rights  []byte
}

var _ net.Listener = (*receiver)(nil)

func newReceiver(socket *os.File, local net.Addr, tally *tally) *receiver {
	return &receiver{
		File: socket, local: local, tally: tally,
		text: make([]byte, maxBatch*len(sockaddr{})), rights: make([]byte, unix.CmsgSpace(maxBatch*4)), // an int32 each
	}
}

func (r *receiver) Addr() net.Addr { return r.local }

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
	raw, err := r.SyscallConn()
	if err != nil {
		return err
	}
	var n, rights int
	waitErr := raw.Read(func(fd uintptr) bool {
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
		client := sockaddr(text[i*len(sockaddr{}):])
		r.waiting = append(r.waiting, &conn{File: os.NewFile(uintptr(fd), "tcp"), of: r, remote: client.tcp()})
	}
	return nil
}

// sockaddr is a client's address as the kernel has it: a struct sockaddr_in or sockaddr_in6.
type sockaddr [unix.SizeofSockaddrInet6]byte

func (a *sockaddr) tcp() *net.TCPAddr {
	ip := netip.AddrFrom4([4]byte(a[4:]))
	if binary.NativeEndian.Uint16(a[:]) == unix.AF_INET6 {
		ip = netip.AddrFrom16([16]byte(a[8:])).Unmap()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, binary.BigEndian.Uint16(a[2:])))
}

// conn is a TCP connection that was accepted elsewhere. An os.File of a non-blocking descriptor has deadlines and
// waits in Go's poller as a net.TCPConn does. net.FileConn would make one, but takes a dup, a close, and three calls to
// ask the kernel for what is known.
type conn struct {
	*os.File
	of     *receiver
	remote net.Addr
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
	return callOn(c, "shutdown", func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// netError makes an error as those of a net.TCPConn, by which net/http tells a time-out and a client that has gone.
func netError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}

// receive serves what this worker is given until there is no more.
func receive(t task, socket, counted *os.File) error {
	kept, err := openTally(counted)
	if err != nil {
		return err
	}
	local, err := net.ResolveTCPAddr("tcp", t.Addr)
	if err != nil {
		return err
	}
	if err := serveCrew(newReceiver(socket, local, kept)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
