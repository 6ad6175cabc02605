package kernel

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller waits until a socket is readable, without a Read of it. It is an epoll(7) instance in that of the runtime: to
// change what a goroutine waits for there, the goroutine would have to run.
type Poller struct {
	socket   syscall.RawConn
	on, off  func(fd uintptr)
	file     *os.File // the instance
	instance syscall.RawConn
}

// NewPoller returns a poller that is not armed. Its methods may be called at the same time, but Wait by one goroutine only.
func NewPoller(conn net.Conn) (*Poller, error) {
	kernel, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	socket, err := kernel.SyscallConn()
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // so that package os waits by the runtime's poller
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(epoll))
	}
	p := &Poller{socket: socket, file: os.NewFile(uintptr(epoll), "epoll")}
	if p.instance, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	var added error
	closed := socket.Control(func(fd uintptr) {
		added = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLONESHOT})
	})
	if err := errors.Join(closed, os.NewSyscallError("epoll_ctl", added)); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	change := func(events uint32) func(uintptr) {
		return func(fd uintptr) { // fails for wrong arguments only
			_ = unix.EpollCtl(epoll, unix.EPOLL_CTL_MOD, int(fd), &unix.EpollEvent{Events: events | unix.EPOLLONESHOT})
		}
	}
	p.on, p.off = change(unix.EPOLLIN|unix.EPOLLRDHUP), change(0)
	return p, nil
}

// Arm makes Wait return once when there is something to read, or the peer has closed the stream. It returns false if the
// stream is closed.
func (p *Poller) Arm() bool { return p.socket.Control(p.on) == nil }

// Disarm undoes Arm.
func (p *Poller) Disarm() { _ = p.socket.Control(p.off) } // a closed stream is not armed

// Wait reports whether the poller was armed and there is something to read. It returns false after Wake.
func (p *Poller) Wait() (readable bool) {
	var events [1]unix.EpollEvent
	err := p.instance.Read(func(epoll uintptr) bool {
		n, err := unix.EpollWait(int(epoll), events[:], 0)
		readable = n > 0
		return readable || err != nil && err != unix.EINTR
	})
	if err != nil {
		_ = p.file.SetReadDeadline(time.Time{})
	}
	return readable
}

// Wake ends the Wait in flight, or the next one.
func (p *Poller) Wake() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) }

// Close frees the poller. Nobody may be in Wait.
func (p *Poller) Close() { _ = p.file.Close() }
