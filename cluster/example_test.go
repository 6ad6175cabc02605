package cluster_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/multinode-go/multinode/cluster"
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

// A second port, for a server of its own. It is shared by all nodes as the first is.
func ExampleNode_Listen() {
	node, err := cluster.Listen(cluster.Options{Addr: "127.0.0.1:0", Nodes: 1}, &http.Server{})
	if err != nil {
		log.Fatal(err)
	}
	l, err := node.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	metrics := &http.Server{Handler: http.NotFoundHandler()}
	served := make(chan error)
	go func() { served <- metrics.Serve(l) }()

	if err := node.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-served // the node has closed the listener
	fmt.Println(metrics.Shutdown(context.Background()))
	// Output: <nil>
}
