package ways

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen listens as Go's net does, but not for Multipath TCP.
func listen(addr string) (*net.TCPListener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil // it is one, for "tcp"
}

// acceptedOptions are what Go's net sets for a connection that it accepts. Keep-alive is in seconds, seconds, and a count.
var acceptedOptions = []struct{ level, name, value int }{
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
}

// listenRaw returns a listener that nothing of Go's net knows of, and that does not block. What is accepted from it has the
// options of Go's net: the kernel copies them from the listener, so that they take no system calls for each connection.
func listenRaw(addr string) (fd int, bound net.Addr, err error) {
	l, err := listen(addr)
	if err != nil {
		return 0, nil, err
	}
	defer l.Close()
	err = callOn(l, "fcntl", func(own int) (err error) { fd, err = duplicate(own); return err })
	for _, o := range acceptedOptions {
		err = errors.Join(err, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, o.level, o.name, o.value)))
	}
	return fd, l.Addr(), err
}

func duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// callOn makes a system call on the descriptor of a connection or a listener.
func callOn(c syscall.Conn, name string, call func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = raw.Control(func(fd uintptr) { callErr = call(int(fd)) })
	return errors.Join(err, os.NewSyscallError(name, callErr))
}
