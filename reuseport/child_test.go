package reuseport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/multinode-go/multinode/reuseport"
)

// childEnv makes the test binary a foreign program that listens on the address in the variable.
const childEnv = "REUSEPORT_TEST_CHILD"

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
