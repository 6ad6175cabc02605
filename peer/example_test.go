package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// twoNodes returns nodes 1 and 2, which are two processes in life. end closes them.
func twoNodes() (first, second *peer.Mesh, end func()) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	meshes := make([]*peer.Mesh, 2)
	for i := range meshes {
		meshes[i], err = peer.Join(context.Background(), peer.Options{
			Directory: dir, Self: peer.Info{Cluster: "web", ID: i + 1},
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	return meshes[0], meshes[1], func() {
		meshes[0].Close()
		meshes[1].Close()
		os.RemoveAll(dir)
	}
}

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

// A program that the cluster has not started joins as a guest, and says what to do when the cluster does not run.
func ExampleJoin_guest() {
	mesh, err := peer.Join(context.Background(), peer.Options{Self: peer.Info{Cluster: "example.shop"}})
	if errors.Is(err, peer.ErrNoMaster) {
		fmt.Println("shop does not run")
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Close()
	fmt.Println("shop has", len(mesh.Peers()), "nodes")
	// Output: shop does not run
}

// A test of a program that needs a mesh has one without a directory.
func ExampleSolo() {
	mesh := peer.Solo(peer.Info{Cluster: "web", ID: 1})
	defer mesh.Close()
	fmt.Println(mesh.Self().ID, len(mesh.Peers()))
	// Output: 1 0
}

// A peer that closed its mesh was stopped. A peer that died has crashed, and a peer that was cut comes back.
func ExampleMesh_OnEvent() {
	first, second, end := twoNodes()
	defer end()

	left := make(chan peer.Reason)
	first.OnEvent(func(e peer.Event) {
		fmt.Println("node", e.Peer.ID, "has", e.Type)
		if e.Type == peer.Left {
			left <- e.Reason
		}
	})
	second.Close()
	switch <-left {
	case peer.ReasonLeft:
		fmt.Println("it was stopped")
	case peer.ReasonDied:
		fmt.Println("it has crashed")
	case peer.ReasonCut:
		fmt.Println("it comes back")
	}
	// Output:
	// node 2 has joined
	// node 2 has left
	// it was stopped
}

// Everything that is written until CloseWrite is copied to the peer, which answers when it has all of it.
func ExampleMesh_Dial() {
	first, second, end := twoNodes()
	defer end()
	listener, err := second.Listen("count")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		data, _ := io.ReadAll(conn)
		fmt.Fprintf(conn, "%d bytes of node %d", len(data), conn.(*peer.Stream).Peer().ID)
	}()

	stream, err := first.Dial(context.Background(), 2, "count")
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Close()
	fmt.Fprint(stream, "hello")
	if err := stream.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	answer, _ := io.ReadAll(stream)
	fmt.Println(string(answer))

	_, err = first.Dial(context.Background(), 2, "files")
	if refused, ok := errors.AsType[*peer.RefusedError](err); ok {
		fmt.Println("node", refused.Peer.ID, "has no", refused.Stream)
	}
	_, err = first.Dial(context.Background(), 3, "files")
	fmt.Println("there is no such node:", errors.Is(err, peer.ErrNoPeer))
	// Output:
	// 5 bytes of node 1
	// node 2 has no files
	// there is no such node: true
}

// A program in any language that speaks WebSocket connects to the node's socket, at /stream/clock.
func ExampleMesh_ListenWebSocket() {
	mesh, err := peer.Join(context.Background(), peer.Options{Self: peer.Info{Cluster: "web", ID: 1}})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := mesh.ListenWebSocket("clock")
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			break // the mesh is closed
		}
		go func() {
			c := framing.New(conn, framing.Options{})
			defer c.Close(framing.CodeNormal, "")
			if err := c.Send(context.Background(), time.Now()); err != nil {
				log.Print(err)
			}
		}()
	}
}

// The profiles of a process that does not listen on the network: curl --unix-socket FILE http://node/debug/pprof/
func ExampleMesh_Handle() {
	mesh := peer.Solo(peer.Info{Cluster: "web"}) // or that of a cluster.Node
	defer mesh.Close()
	fmt.Println(mesh.Handle("/debug/pprof/", http.HandlerFunc(pprof.Index)))
	// Output: <nil>
}

// An HTTP server on the mesh, and a client that reaches it by the id of its node.
func ExampleMesh_Listen() {
	first, second, end := twoNodes()
	defer end()

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
