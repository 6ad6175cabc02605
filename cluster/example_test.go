package cluster_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/peer/invalidate"
)

func ExampleListen() {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	})}
	node, err := cluster.Listen(cluster.Options{Addr: "127.0.0.1:0", Nodes: 1}, server)
	if err != nil {
		log.Fatal(err)
	}
	if node.IsMaster() {
		fmt.Println("once per cluster: a console, a cron job")
	}
	go func() {
		if err := node.Shutdown(context.Background()); err != nil { // or SIGTERM, or Ctrl-C
			log.Print(err)
		}
	}()
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
	// Output: once per cluster: a console, a cron job
}

// The handlers need a cache that is made with the node: it exists before they are called.
func ExampleStart() {
	ctx := context.Background()
	load := func(context.Context, int) (string, error) { return "tea", nil } // from a database
	node, err := cluster.Start(ctx, cluster.Options{Addr: ":8080", Nodes: 4})
	if err != nil {
		log.Fatal(err)
	}
	products, err := invalidate.New(node.Bus(), invalidate.Options[int, string]{Name: "products"}, load)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		product, err := products.Get(r.Context(), 7)
		fmt.Fprintln(w, product, err)
	})}
	if err := node.Serve(server); err != nil {
		log.Fatal(err)
	}
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
}

// A second port, with a server of its own. It is shared by all nodes as the first is, and both servers have the same drain.
func ExampleNode_Serve() {
	ctx := context.Background()
	node, err := cluster.Start(ctx, cluster.Options{Addr: "127.0.0.1:0", Nodes: 1})
	if err != nil {
		log.Fatal(err)
	}
	inside, err := node.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	metrics, server := &http.Server{Handler: http.NotFoundHandler()}, &http.Server{}
	if err := node.Serve(metrics, inside); err != nil {
		log.Fatal(err)
	}
	if err := node.Serve(server); err != nil { // last: the node is ready then
		log.Fatal(err)
	}
	fmt.Println(node.WaitReady(ctx))
	fmt.Println(node.Shutdown(ctx))
	// Output:
	// <nil>
	// <nil>
}

// A program that serves a port by itself. The node has left the port when Draining is done; it waits for the connections.
func ExampleNode_Listener() {
	node, err := cluster.Start(context.Background(), cluster.Options{Addr: "127.0.0.1:0", Nodes: 1})
	if err != nil {
		log.Fatal(err)
	}
	var server http.Server // or a grpc.Server with its GracefulStop
	context.AfterFunc(node.Draining(), func() { server.Shutdown(context.Background()) })
	served := make(chan error)
	go func() { served <- server.Serve(node.Listener()) }()

	if err := node.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output: http: Server closed
}

func ExampleFromContext() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		node, _ := cluster.FromContext(r.Context())
		fmt.Fprintln(w, "hello from node", node.ID())
	}
	node, err := cluster.Listen(cluster.Options{Addr: ":8080", Nodes: 4}, &http.Server{Handler: http.HandlerFunc(hello)})
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
}
