package ways

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// firstFile is the descriptor of the first of exec.Cmd's ExtraFiles.
const firstFile = 3

// inheritance is one listener for all workers, which each of them accepts from. The master does not, and does not wait for
// connections either.
type inheritance struct {
	file  *os.File
	bound net.Addr
}

func newInheritance(addr string) (*inheritance, error) {
	fd, bound, err := listenRaw(addr)
	if err != nil {
		return nil, err
	}
	// A non-blocking descriptor would go to Go's poller. The workers make it non-blocking, for all who share it.
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	return &inheritance{os.NewFile(uintptr(fd), "listener"), bound}, nil
}

func (i *inheritance) addr() string { return i.bound.String() }

func (i *inheritance) hire(cmd *exec.Cmd) (seat, error) {
	cmd.ExtraFiles = []*os.File{i.file}
	return heir{}, nil
}

func (i *inheritance) close() error { return i.file.Close() }

// heir needs nobody: it has the listener.
type heir struct{}

func (heir) open() error { return nil }
func (heir) close()      {}
func (heir) free()       {}

// runAcceptor is a worker that accepts from a listener which it has inherited, until standard input ends.
func runAcceptor() error {
	file := os.NewFile(firstFile, "listener")
	l, err := net.FileListener(file)
	if err != nil {
		return err
	}
	_ = file.Close() // the listener has a descriptor of its own
	return child.Serve(func() error { return serveCrew(l) }, func() error { return errors.Join(settle(l.Addr()), l.Close()) })
}

// settle returns when the worker has accepted what waits in its own queue, which its end would lose. A connection that
// comes last is answered last.
func settle(addr net.Addr) error {
	if addr.Network() != "unix" {
		return nil // others accept from this queue
	}
	conn, err := new(net.Dialer).DialContext(context.Background(), addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: worker\r\n\r\n")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}
