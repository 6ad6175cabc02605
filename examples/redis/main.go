// Redis is a server of github.com/tidwall/redcon on several processes: it knows ECHO.
//
//	go run ./examples/redis
//	redis-cli -p 8080 echo hello
package main

import (
	"context"
	"errors"
	"log"
	"strings"

	"github.com/tidwall/redcon"

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
	server := redcon.NewServer("", func(conn redcon.Conn, command redcon.Command) {
		if len(command.Args) == 2 && strings.EqualFold(string(command.Args[0]), "echo") {
			conn.WriteBulk(command.Args[1])
		} else {
			conn.WriteError("ERR only ECHO is known here")
		}
		if node.Draining().Err() != nil {
			joinEnd(conn.NetConn())
			conn.Close() // after the answer; the client comes to another node
		}
	}, nil, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(node.Listener()) }() // ends with the node, which waits for the connections
	return errors.Join(node.Wait(), <-served)
}
