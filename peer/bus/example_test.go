package bus_test

import (
	"context"
	"errors"
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

// Each node that has subscribed gets a broadcast, except its sender.
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
	ctx := context.Background()
	err := first.WhenFull(bus.Fail).Broadcast(ctx, "prices", 17)
	if behind, ok := errors.AsType[*bus.PeersError](err); ok {
		for _, e := range behind.Errors {
			fmt.Println("node", e.Peer.ID, "is behind:", errors.Is(e, bus.ErrFull))
		}
	}
	// What every peer must have, or start again: a peer that does not take it is cut.
	if err := first.WhenFull(bus.Cut).Broadcast(ctx, "revoked keys", []byte{17}); err != nil {
		log.Fatal(err)
	}
	// Output:
}

// The error of a handler comes back to the node that has asked.
func ExampleBus_Request() {
	first, second, end := twoNodes()
	defer end()
	ctx := context.Background()

	_, err := second.Subscribe("divide", func(_ context.Context, m bus.Message) (any, error) {
		var of [2]int
		if err := m.Decode(&of); err != nil {
			return nil, err
		}
		return of[0] / of[1], nil // panics
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := second.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = first.Request(ctx, 2, "divide", [2]int{1, 0})
	if failed, ok := errors.AsType[*bus.RemoteError](err); ok {
		fmt.Printf("node %d: %s\n", failed.Peer.ID, failed.Text)
	}
	_, err = first.Request(ctx, 3, "divide", [2]int{4, 2})
	if failed, ok := errors.AsType[*bus.PeerError](err); ok && errors.Is(err, bus.ErrNoPeer) {
		fmt.Printf("node %d is not on the bus\n", failed.Peer.ID)
	}
	// Output:
	// node 2: panic: runtime error: integer divide by zero
	// node 3 is not on the bus
}

// The messages that a dead peer may not have handled are logged.
func ExampleLost() {
	mesh := peer.Solo(peer.Info{Cluster: "web", ID: 1})
	defer mesh.Close()
	b, err := bus.New(context.Background(), mesh, bus.Options{
		OnLost: func(l bus.Lost) {
			log.Printf("node %d (slot %d): the last %d messages of %s may be lost: %v", l.Peer.ID, l.Peer.Slot, l.Unconfirmed, l.Topic, l.Err)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
}

// Which peers are slow, and how often that was felt.
func ExampleBus_Stats() {
	_, second, end := twoNodes()
	defer end()
	stats := second.Stats()
	for _, p := range stats.Peers {
		fmt.Println("node", p.Peer.ID, "has to handle", p.Unhandled, "bytes, and to read", p.Queued)
	}
	fmt.Println(stats.Total.Blocked, "messages have waited")
	// Output:
	// node 1 has to handle 0 bytes, and to read 0
	// 0 messages have waited
}

// A layer above the bus takes back what it has promised to peers before they see this node leave.
func ExampleBus_OnClose() {
	first, second, end := twoNodes()
	ctx := context.Background()

	_, err := second.Subscribe("leases", func(_ context.Context, m bus.Message) (any, error) {
		fmt.Printf("node %d gives back %s\n", m.From.ID, m.Data)
		return nil, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := second.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	first.OnClose(func() {
		if _, err := first.RequestAll(ctx, "leases", "printer"); err != nil {
			first.Logger().Warn("a lease was not given back", "node", first.Mesh().Self().ID, "error", err)
		}
	})
	end()
	// Output: node 1 gives back "printer"
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
