// Websocket sends back each message of a WebSocket, on several processes.
//
//	go run ./examples/websocket
//	npx wscat -c ws://localhost:8080/
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/coder/websocket"

	"github.com/multinode-go/multinode/cluster"
)

func main() {
	if err := run(cluster.Options{Addr: ":8080", Nodes: 4}); err != nil {
		log.Fatal(err)
	}
}

func run(opts cluster.Options) error {
	node, err := cluster.Listen(opts, &http.Server{Handler: http.HandlerFunc(echo)})
	if err != nil {
		return err
	}
	return node.Wait()
}

// echo sends each message back. When the node drains the client gets a close frame and comes to another node; a message
// that has no answer yet it sends again.
func echo(w http.ResponseWriter, r *http.Request) {
	node, _ := cluster.FromContext(r.Context())
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer func() { _ = conn.CloseNow() }() // it may be closed
	stop := context.AfterFunc(node.Draining(), func() { _ = conn.Close(websocket.StatusGoingAway, "come again") })
	defer stop()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
