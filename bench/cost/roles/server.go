package roles

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/cluster"
)

// servers are the systems that nobody asks but over HTTP. They say where they serve.
var servers = map[string]func(Player) error{Plain: servePlain, Cluster: serveCluster}

func handler() http.Handler {
	body := []byte("hello\n")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body) // a client that has gone needs no answer
	})
}

// servePlain is the baseline: what one writes without us.
func servePlain(Player) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("ready", l.Addr())
	return child.Serve(func() error { return http.Serve(l, handler()) }, l.Close)
}

// serveCluster serves the same from as many nodes as there are peers.
func serveCluster(p Player) error {
	logger := slog.New(slog.DiscardHandler) // the parent follows the events
	options := cluster.Options{Addr: "127.0.0.1:0", Nodes: p.Peers, Dir: p.Dir, Logger: logger}
	node, err := cluster.Listen(options, &http.Server{Handler: handler()})
	if err != nil {
		return err
	}
	if node.IsMaster() && node.WaitReady(context.Background()) == nil {
		fmt.Println("ready", node.Addr())
	}
	return node.Wait()
}
