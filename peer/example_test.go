package peer_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/multinode-go/multinode/peer"
)

// Two nodes, which are two processes in life, and one stream between them.
func ExampleJoin() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

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

// An HTTP server on the mesh, and a client that reaches it by the id of its node.
func ExampleMesh_Listen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	join := func(id int) *peer.Mesh {
		mesh, err := peer.Join(context.Background(), peer.Options{
			Directory: dir, Self: peer.Info{Cluster: "web", ID: id},
		})
		if err != nil {
			log.Fatal(err)
		}
		return mesh
	}
	first, second := join(1), join(2)
	defer first.Close()
	defer second.Close()

	listener, err := second.Listen("http")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of node %d", r.URL.Path, second.Self().ID)
	})}
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()

	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			id, err := strconv.Atoi(host)
			if err != nil {
				return nil, err
			}
			return first.Dial(ctx, id, "http")
		},
	}}
	answer, err := client.Get("http://2/status")
	if err != nil {
		log.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	fmt.Println(string(text))
	client.CloseIdleConnections()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-served
	// Output: /status of node 2
}
