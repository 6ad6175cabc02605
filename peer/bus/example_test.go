package bus_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// twoNodes returns two nodes, which are two processes in life. The function ends them.
func twoNodes() (first, second *bus.Bus, end func()) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	nodes := make([]*bus.Bus, 2)
	meshes := make([]*peer.Mesh, 2)
	for id := range nodes {
		meshes[id], err = peer.Join(context.Background(), peer.Options{
			Directory: dir,
			Self:      peer.Info{Cluster: "web", ID: id + 1, Slot: id + 1},
		})
		if err != nil {
			log.Fatal(err)
		}
		if nodes[id], err = bus.New(context.Background(), meshes[id], bus.Options{}); err != nil {
			log.Fatal(err)
		}
	}
	return nodes[0], nodes[1], func() {
		for id := range nodes {
			nodes[id].Close()
			meshes[id].Close()
		}
		os.RemoveAll(dir)
	}
}

// Each node that has subscribed gets a broadcast, but for the one that sends it.
func ExampleBus() {
	first, second, end := twoNodes()
	defer end()
	ctx := context.Background()

	heard := make(chan string)
	_, err := second.Subscribe("chat", func(_ context.Context, m bus.Message) (any, error) {
		var text string
		err := m.Decode(&text)
		heard <- fmt.Sprintf("node %d says: %s", m.From.ID, text)
		return nil, err
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := second.Flush(ctx); err != nil { // now the others know of the subscription
		log.Fatal(err)
	}
	if err := first.Broadcast(ctx, "chat", "hello"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	// Output: node 1 says: hello
}

// What the function returns is the answer.
func ExampleBus_Subscribe() {
	first, second, end := twoNodes()
	defer end()
	ctx := context.Background()

	_, err := second.Subscribe("length", func(_ context.Context, m bus.Message) (any, error) {
		return len(m.Data), nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := second.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	answer, err := first.Request(ctx, 2, "length", []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s from node %d\n", answer.Data, answer.From.ID)
	// Output: 5 from node 2
}

// A message that would have to wait fails instead, and tells which peers are behind.
func ExampleBus_WhenFull() {
	first, _, end := twoNodes()
	defer end()
	if err := first.WhenFull(bus.Fail).Broadcast(context.Background(), "prices", 17); err != nil {
		fmt.Println("some did not get it:", err)
	}
	// Output:
}

// Questions and answers are values of your own types.
func ExampleBus_RequestAll() {
	first, second, end := twoNodes()
	defer end()
	ctx := context.Background()

	type query struct{ Name string }
	type result struct{ Visits int }
	_, err := second.Subscribe("visits", func(_ context.Context, m bus.Message) (any, error) {
		var q query
		err := m.Decode(&q)
		return result{Visits: len(q.Name)}, err
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := second.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	answers, err := first.RequestAll(ctx, "visits", query{"about"})
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range answers {
		var r result
		if err := a.Decode(&r); err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Peer.ID, r.Visits)
	}
	// Output: 2 5
}
