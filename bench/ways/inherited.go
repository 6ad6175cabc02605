//go:build linux

package ways

import (
	"context"
	"net"
	"os"
	"os/exec"
)

// firstFile is the descriptor of the first of exec.Cmd's ExtraFiles.
const firstFile = 3

// inheritance is one listener for all workers, which each of them accepts from. The master does not.
type inheritance struct {
	listener *net.TCPListener
	file     *os.File
}

func newInheritance(addr string) (*inheritance, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	i := &inheritance{listener: l.(*net.TCPListener)} // it is one, for "tcp"
	i.file, err = i.listener.File()
	return i, err
}

func (i *inheritance) addr() string { return i.listener.Addr().String() }

func (i *inheritance) hire(cmd *exec.Cmd) (seat, error) {
	cmd.ExtraFiles = []*os.File{i.file}
	return heir{}, nil
}

func (i *inheritance) close() error {
	_ = i.file.Close()
	return i.listener.Close()
}

// heir needs nobody: it has the listener.
type heir struct{}

func (heir) open() error { return nil }
func (heir) close()      {}
func (heir) free()       {}

// runAcceptor is a worker that accepts from a listener which it has inherited.
func runAcceptor() error {
	file := os.NewFile(firstFile, "listener")
	l, err := net.FileListener(file)
	if err != nil {
		return err
	}
	_ = file.Close() // the listener has a descriptor of its own
	return serve(l, func() error { return settle(l.Addr()) })
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
