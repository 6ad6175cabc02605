package roles

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/multinode-go/multinode/peer"
)

// What joins. Each prints lines with times of the clock that all processes share: "began TIME", and "joined ID TIME" and
// "left ID TIME" for each of the others.
const (
	Trivial = "trivial" // a process that does nothing
	Hello   = "hello"   // what one writes without a library: a connection, and the id there and back
	Mesh    = "mesh"
)

// begin prints when a player begins. A late joiner waits for a line.
func (p Player) begin() error {
	if len(p.Others) > 0 {
		fmt.Println("waits")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
	}
	return stamp("began")
}

func stamp(what string) error {
	now, err := Monotonic()
	if err == nil {
		fmt.Println(what, now.Nanoseconds())
	}
	return err
}

func followTrivial(p Player) (io.Closer, error) { return nothing, p.begin() }

// followMesh joins as a node of a cluster does.
func followMesh(p Player) (io.Closer, error) {
	if err := p.begin(); err != nil {
		return nil, err
	}
	mesh, err := joinMesh(p.Dir, p.ID)
	if err != nil {
		return nil, err
	}
	mesh.OnEvent(func(e peer.Event) {
		if err := stamp(fmt.Sprint(e.Type, " ", e.Peer.ID)); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	})
	return mesh, nil
}

// joinMesh joins as the worker of that id.
func joinMesh(dir string, id int) (*peer.Mesh, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return peer.Join(ctx, peer.Options{
		Directory: dir,
		Self:      peer.Info{Cluster: "bench", ID: id, Slot: id, Generation: 1},
	})
}

// followHello dials the others, says hello to each on its socket, and then waits for their answers.
func followHello(p Player) (io.Closer, error) {
	l, err := p.accept(welcome)
	if err != nil {
		return nil, err
	}
	if err := p.begin(); err != nil {
		return nil, err
	}
	var conns []net.Conn
	for _, id := range p.Others {
		conn, err := p.dial(context.Background(), id, binary.BigEndian.AppendUint64(nil, uint64(p.ID)))
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	for i, conn := range conns {
		if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
			return nil, err
		}
		if err := stamp(fmt.Sprint("joined ", p.Others[i])); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// welcome answers a hello, and tells when the one who said it has gone.
func welcome(conn net.Conn) {
	defer conn.Close()
	hello := make([]byte, 8)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return
	}
	id := binary.BigEndian.Uint64(hello)
	if _, err := conn.Write(hello); err != nil || stamp(fmt.Sprint("joined ", id)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn)   // any end is an end
	_ = stamp(fmt.Sprint("left ", id)) // the parent would miss it
}
