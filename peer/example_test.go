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

	worker, err := peer.Join(context.Background(), peer.Options{
		Directory: dir,
		Self:      peer.Info{Cluster: "web", ID: 1, Slot: 1},
		OnStream:  func(s *peer.Stream) { fmt.Fprintf(s, "hello %s of node %d", s.Name(), s.Peer().ID) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()

	heard := make(chan string, 1)
	master, err := peer.Join(context.Background(), peer.Options{
		Directory: dir,
		Self:      peer.Info{Cluster: "web", ID: 0},
		Dial:      []string{"chat"},
		OnStream: func(s *peer.Stream) {
			text, _ := io.ReadAll(s)
			select {
			case heard <- string(text):
			default: // the stream was opened again, since both live
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer master.Close()
	fmt.Println(<-heard)
	// Output: hello chat of node 0
}
