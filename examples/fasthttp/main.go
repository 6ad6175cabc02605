// Fasthttp is a server of github.com/valyala/fasthttp on several processes: it sends back what a request brings.
//
//	go run ./examples/fasthttp
//	curl -d hello http://localhost:8080/
package main

import (
	"context"
	"log"

	"github.com/valyala/fasthttp"

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
	handler := func(c *fasthttp.RequestCtx) {
		if node.Draining().Err() != nil {
			c.SetConnectionClose() // the client comes to another node with its next request
		}
		c.SetBody(c.PostBody())
	}
	if err := node.Serve(server{&fasthttp.Server{Handler: handler}}); err != nil {
		return err
	}
	return node.Wait()
}

// server is a fasthttp.Server as a node serves with it.
type server struct{ *fasthttp.Server }

// Shutdown waits for the requests in flight.
func (s server) Shutdown(ctx context.Context) error { return s.ShutdownWithContext(ctx) }
