// Rpc is a server of net/rpc on several processes: it divides numbers.
//
//	go run ./examples/rpc
package main

import (
	"context"
	"errors"
	"log"
	"net/rpc"

	"github.com/multinode-go/multinode/cluster"
)

func main() {
	if err := run(cluster.Options{Addr: ":8080", Nodes: 4}); err != nil {
		log.Fatal(err)
	}
}

// Numbers are what is to be divided.
type Numbers struct{ A, B int }

// Arithmetic is the service.
type Arithmetic struct{}

// Divide divides A by B.
func (Arithmetic) Divide(in Numbers, quotient *int) error {
	if in.B == 0 {
		return errors.New("division by 0")
	}
	*quotient = in.A / in.B
	return nil
}

func run(opts cluster.Options) error {
	node, err := cluster.Start(context.Background(), opts)
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(Arithmetic{}); err != nil {
		return err
	}
	// net/rpc has no word for the end: a node that drains goes on with its connections until the clients close them,
	// within Options.StopTimeout.
	go server.Accept(node.Listener())
	return node.Wait()
}
