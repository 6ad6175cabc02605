// Grpc is a gRPC server on several processes, with the services for health and reflection.
//
//	go run ./examples/grpc
//	grpcurl -plaintext localhost:8080 list
package main

import (
	"context"
	"errors"
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/multinode-go/multinode/cluster"
)

func main() {
	if err := run(cluster.Options{Addr: ":8080", Nodes: 4}); err != nil {
		log.Fatal(err)
	}
}

func run(opts cluster.Options) error {
	node, err := cluster.Start(context.Background(), opts)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)

	// When no new connection comes any more, the clients get a GOAWAY and go to another node. Calls and streams go on to
	// their end, for which Wait waits.
	context.AfterFunc(node.Draining(), server.GracefulStop)
	served := make(chan error, 1)
	go func() { served <- server.Serve(node.Listener()) }() // ends with GracefulStop
	return errors.Join(node.Wait(), <-served)
}
