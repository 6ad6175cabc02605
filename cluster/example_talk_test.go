package cluster_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// A stream of bytes to each other process, present or future.
func ExampleNode_OnNode() {
	node, err := cluster.Listen(cluster.Options{Addr: ":8080", Nodes: 4}, &http.Server{})
	if err != nil {
		log.Fatal(err)
	}
	var mu sync.Mutex
	all := make(map[*peer.Stream]bool)
	node.OnNode(func(s *peer.Stream) {
		mu.Lock()
		all[s] = true
		mu.Unlock()
		io.Copy(os.Stdout, s) // the output of this other process, until it ends
		mu.Lock()
		delete(all, s)
		mu.Unlock()
		s.Close()
	})
	notifyOthers := func(message string) {
		mu.Lock()
		defer mu.Unlock()
		for s := range all {
			fmt.Fprintln(s, message)
		}
	}
	notifyOthers("hello")
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
}

// Messages on the streams, as on a WebSocket.
func ExampleNode_OnNode_framing() {
	node, err := cluster.Listen(cluster.Options{Addr: ":8080", Nodes: 4}, &http.Server{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	node.OnNode(func(s *peer.Stream) {
		conn := framing.New(s, framing.Options{})
		defer conn.Close(framing.CodeNormal, "")
		if err := conn.Send(ctx, map[string]string{"foo": "bar"}); err != nil {
			log.Print(err)
		}
		conn.Serve(ctx, func(m framing.Message) error { // until the other process ends
			var value map[string]string
			if err := m.Decode(&value); err != nil {
				return err
			}
			fmt.Println(s.Peer().ID, "says", value)
			return nil
		})
	})
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
}

// Messages by topic: to all subscribers, to one node, with one answer, and with all answers.
func ExampleNode_Bus() {
	node, err := cluster.Listen(cluster.Options{Addr: ":8080", Nodes: 4}, &http.Server{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	type Price struct {
		Of   string
		Euro int
	}
	_, err = node.Bus().Subscribe("price", func(_ context.Context, m bus.Message) (any, error) {
		var p Price
		err := m.Decode(&p)
		fmt.Println("node", m.From.ID, "says that", p.Of, "costs", p.Euro)
		return nil, err
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = node.Bus().Subscribe("sessions", func(context.Context, bus.Message) (any, error) {
		return 42, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Bus().Broadcast(ctx, "price", Price{"tea", 3}); err != nil {
		log.Print(err) // names the peers that it did not reach
	}
	answers, err := node.Bus().RequestAll(ctx, "sessions", "how many?") // the results of the subscribers' functions
	for _, a := range answers {
		fmt.Printf("node %d has %s %v\n", a.Peer.ID, a.Data, a.Err)
	}
	if err != nil {
		log.Print(err)
	}
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
}

// The joins and leaves of nodes.
func ExampleNode_Mesh() {
	node, err := cluster.Listen(cluster.Options{Addr: ":8080", Nodes: 4}, &http.Server{})
	if err != nil {
		log.Fatal(err)
	}
	node.Mesh().OnEvent(func(e peer.Event) {
		log.Printf("node %d (slot %d, pid %d) has %v %v", e.Peer.ID, e.Peer.Slot, e.Peer.PID, e.Type, e.Reason)
	})
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
}

// Streams by name, which the program opens and accepts itself: any protocol between the processes.
func ExampleNode_Mesh_streams() {
	node, err := cluster.Listen(cluster.Options{Addr: ":8080", Nodes: 4}, &http.Server{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	listener, err := node.Mesh().Listen("rpc") // a net.Listener, for an http.Server or any other
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, http.NotFoundHandler())
	for _, p := range node.Peers() {
		conn, err := node.Mesh().Dial(ctx, p.ID, "rpc") // a net.Conn
		if err != nil {
			log.Print(err)
			continue
		}
		conn.Close()
	}
	if err := node.Wait(); err != nil {
		log.Fatal(err)
	}
}

// A process that is no worker, such as a cron job or a command, joins the mesh of a cluster, sends a message, and leaves.
func Example_guest() {
	ctx := context.Background()
	mesh, err := peer.Join(ctx, peer.Options{Self: peer.Info{Cluster: "shop-8080"}}) // the name of the cluster, see Node.Name
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Close()
	b, err := bus.New(ctx, mesh, bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if err := b.Broadcast(ctx, "price", "tea is 3 today"); err != nil {
		log.Print(err)
	}
}
