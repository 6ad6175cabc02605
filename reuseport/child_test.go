package reuseport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/multinode-go/multinode/reuseport"
)

// childEnv makes the test binary a foreign program that listens on the address in the variable.
const childEnv = "REUSEPORT_TEST_CHILD"

// lenderEnv makes the test binary a program that listens on the network and the address in the variable, and lends its listener over
// descriptor 3. It accepts
// a connection, says so by a byte, and accepts the next one when it gets a byte.
const lenderEnv = "REUSEPORT_TEST_LENDER"

func lender(where string) error {
	network, address, _ := strings.Cut(where, " ")
	l, err := reuseport.Listen(context.Background(), network, address, reuseport.Options{})
	if err != nil {
		return err
	}
	m, err := reuseport.NewMultiListener(l, reuseport.MultiOptions{})
	if err != nil {
		return err
	}
	conn, err := net.FileConn(os.NewFile(3, "to the test"))
	if err != nil {
		return err
	}
	lent, err := m.Lend(0)
	if err != nil {
		return err
	}
	if err := reuseport.Send(conn.(*net.UnixConn), lent, 7); err != nil {
		return err
	}
	for { // until it is killed, or the test ends
		accepted, err := m.Accept()
		if err != nil {
			return err
		}
		if err := accepted.Close(); err != nil {
			return err
		}
		turn := []byte{0}
		if _, err := conn.Write(turn); err != nil {
			return err
		}
		if _, err := conn.Read(turn); err != nil {
			return err
		}
	}
}

// child listens, accepts each connection and keeps it, until its standard input ends.
func child(address string) error {
	l, err := reuseport.Listen(context.Background(), "tcp", address, reuseport.Options{})
	if err != nil {
		return err
	}
	ino, err := reuseport.Inode(l)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(reuseport.Listener{
		Inode: ino,
		UID:   os.Geteuid(),
		Addr:  netip.MustParseAddrPort(l.Addr().String()),
	}); err != nil {
		return err
	}
	go func() { // ends with the process
		var kept []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			kept = append(kept, c)
			fmt.Println(len(kept))
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
