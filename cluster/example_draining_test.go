package cluster_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/multinode-go/multinode/cluster"
)

// A stream of server-sent events would last for ever. It ends when the node drains; the browser then connects again, and
// comes to another node.
func ExampleNode_Draining() {
	events := func(w http.ResponseWriter, r *http.Request) {
		node, _ := cluster.FromContext(r.Context())
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			fmt.Fprintf(w, "data: %s\n\n", time.Now().Format(time.TimeOnly))
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-node.Draining().Done():
				return
			case <-r.Context().Done():
				return
			}
		}
	}
	server := &http.Server{Handler: http.HandlerFunc(events)}
	node, err := cluster.Listen(cluster.Options{Addr: "127.0.0.1:0", Nodes: 1}, server)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("draining:", node.Draining().Err() != nil)
	if err := node.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("draining:", node.Draining().Err() != nil)
	// Output:
	// draining: false
	// draining: true
}
