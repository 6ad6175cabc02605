//go:build linux

package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/reuseport"
)

// runStranger is a process of the same user that shares the port and is no node: it takes what comes, and closes it
// without an answer. It ends when its standard input does.
func runStranger() error {
	var s serve
	if err := child.Task(&s); err != nil {
		return err
	}
	book, err := openLedger(s.Ledger)
	if err != nil {
		return err
	}
	l, err := reuseport.Listen(context.Background(), "tcp", s.Addr, reuseport.Options{})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- takeAll(l, book) }() // ends with l
	fmt.Println("ready", l.Addr())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return errors.Join(l.Close(), <-done)
}

func takeAll(l net.Listener, book *ledger) error {
	for pid := os.Getpid(); ; {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		book.noteConn(conn, pid)
		_ = conn.Close() // to its client it is all the same how
	}
}
