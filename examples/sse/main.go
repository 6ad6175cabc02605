// Sse sends server-sent events from several processes: numbers, each client its own.
//
//	go run ./examples/sse
//	curl -N http://localhost:8080/
package main

import (
	"fmt"
	"log"
	"net/http"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/cluster"
)

func main() {
	if err := run(cluster.Options{Addr: ":8080", Nodes: 4}); err != nil {
		log.Fatal(err)
	}
}

func run(opts cluster.Options) error {
	node, err := cluster.Listen(opts, &http.Server{Handler: http.HandlerFunc(events)})
	if err != nil {
		return err
	}
	return node.Wait()
}

const interval = 10 * time.Millisecond

// events sends the numbers after the one that the client has seen last. When the node drains the answer ends, and the
// client, as each EventSource does, asks again and comes to another node.
func events(w http.ResponseWriter, r *http.Request) {
	node, _ := cluster.FromContext(r.Context())
	last, _ := strconv.Atoi(r.Header.Get("Last-Event-ID")) // 0 at the beginning
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		last++
		fmt.Fprintf(w, "id: %d\ndata: number %d\n\n", last, last)
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
