// Package roles is what the processes do that package cost measures: servers, a load on a catalogue, and the players of a team,
// each in its system to exchange messages, to invalidate, or to join.
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

// Names of the roles of this program. The task of a ClusterRole is the number of its nodes, that of a ShopperRole a Shop, and that
// of a PlayerRole a Player.
const (
	PlainRole   = "cost plain"
	ClusterRole = "cost cluster"
	ShopperRole = "cost shopper"
	PlayerRole  = "cost player"
)

// All returns what this program runs in each of them.
func All() map[string]func() error {
	return map[string]func() error{
		PlainRole: servePlain, ClusterRole: child.Role(serveCluster), ShopperRole: child.Role(runShopper), PlayerRole: child.Role(runPlayer),
	}
}

const patience = child.Patience

func handler() http.Handler {
	body := []byte("hello\n")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body) // a client that has gone needs no answer
	})
}

// servePlain is the baseline: what one writes without us.
func servePlain() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("ready", l.Addr())
	return http.Serve(l, handler())
}

// serveCluster serves the same from some nodes.
func serveCluster(nodes int) error {
	logger := slog.New(slog.DiscardHandler) // the parent follows the events
	node, err := cluster.Listen(cluster.Options{Addr: "127.0.0.1:0", Nodes: nodes, Logger: logger}, &http.Server{Handler: handler()})
	if err != nil {
		return err
	}
	if node.IsMaster() && node.WaitReady(context.Background()) == nil {
		fmt.Println("ready", node.Addr())
		fmt.Println("directory", node.Status().Directory)
	}
	return node.Wait()
}
