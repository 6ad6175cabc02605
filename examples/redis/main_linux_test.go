package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/multinode-go/multinode/examples/internal/reload"
)

func TestMain(m *testing.M) { reload.Main(m, run) }

func TestReload(t *testing.T) { reload.Test(t, echo(1), echo(5), echo(20), echo(100)) }

// echo is a client of commands, of which so many go over one connection. As clients with a pool do, it looks whether the
// server has closed a connection before it uses that again.
func echo(perConn int) func(addr string) reload.Client {
	return func(addr string) reload.Client {
		var conn net.Conn
		var in *bufio.Reader
		n := 0
		closeConn := func() {
			if conn != nil {
				_ = conn.Close()
				conn = nil
			}
		}
		connect := func() (err error) {
			if conn != nil && n%perConn > 0 && isOpen(conn) {
				return nil
			}
			closeConn()
			if conn, err = net.Dial("tcp", addr); err == nil {
				in = bufio.NewReader(conn)
			}
			return err
		}
		return reload.Client{Close: closeConn, Do: func(context.Context) error {
			if err := connect(); err != nil {
				return err
			}
			n++
			text := fmt.Sprint("number ", n)
			if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(text), text); err != nil {
				return err
			}
			var got string
			for range 2 { // the length and the text
				line, err := in.ReadString('\n')
				if err != nil {
					return err
				}
				got += line
			}
			if want := fmt.Sprintf("$%d\r\n%s\r\n", len(text), text); got != want {
				return fmt.Errorf("%q was answered with %q", text, got)
			}
			return nil
		}}
	}
}

// isOpen tells whether the server has not closed a connection on which nothing is to be read.
func isOpen(conn net.Conn) bool {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && open
}
