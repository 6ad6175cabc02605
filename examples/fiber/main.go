// Fiber is an application of github.com/gofiber/fiber on several processes: it sends back what a request brings.
//
//	go run ./examples/fiber
//	curl -d hello http://localhost:8080/
package main

import (
	"context"
	"log"
	"net"

	"github.com/gofiber/fiber/v3"

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
	app := fiber.New()
	app.Use(func(c fiber.Ctx) error {
		if node.Draining().Err() != nil {
			c.Set(fiber.HeaderConnection, "close") // the client comes to another node with its next request
		}
		return c.Next()
	})
	app.Post("/", func(c fiber.Ctx) error { return c.Send(c.Body()) })
	if err := node.Serve(server{app}); err != nil {
		return err
	}
	return node.Wait()
}

// server is a fiber.App as a node serves with it.
type server struct{ *fiber.App }

// Serve accepts until Shutdown.
func (s server) Serve(l net.Listener) error {
	return s.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
}

// Shutdown waits for the requests in flight.
func (s server) Shutdown(ctx context.Context) error { return s.ShutdownWithContext(ctx) }
