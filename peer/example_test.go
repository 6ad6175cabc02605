package peer_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/multinode-go/multinode/peer"
)

// Two nodes, which are two processes in life, and one stream between them.
func ExampleJoin() {
	base, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(base)
	dir, err := peer.OpenDirectory(filepath.Join(base, "web"))
	if err != nil {
		log.Fatal(err)
	}
	defer dir.Close()

	first, err := peer.Join(context.Background(), peer.Options{
		Directory: dir, Self: peer.Info{Cluster: "web", ID: 1},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	second, err := peer.Join(context.Background(), peer.Options{
		Directory: dir, Self: peer.Info{Cluster: "web", ID: 2},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()
	fmt.Println("the peer of the first is node", first.Peers()[0].ID)

	_, err = first.OnStream("chat", nil, func(s *peer.Stream) {
		defer s.Close()
		fmt.Fprintf(s, "hello, node %d", s.Peer().ID)
	})
	if err != nil {
		log.Fatal(err)
	}
	heard := make(chan string)
	_, err = second.OnStream("chat", nil, func(s *peer.Stream) {
		defer s.Close()
		text, _ := io.ReadAll(s)
		heard <- string(text)
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	// Output:
	// the peer of the first is node 2
	// hello, node 2
}
