// Natsd is the NATS server that bench compares with. It says where it listens and ends when its standard input does.
//
// It is a program of its own since what it needs makes every process that has it start 0.7 ms later.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
}

// pending is how much may wait for a client, in bytes: more than bench ever sends at once, or the client were cut off.
const pending = 1 << 30

func run(in io.Reader, out io.Writer) error {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPending: pending,
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the server takes no connections")
	}
	fmt.Fprintln(out, "ready", s.ClientURL())
	_, err = io.Copy(io.Discard, in)
	return err
}
