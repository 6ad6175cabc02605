package cost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/peer"
)

// joiner is the job of a process that joins others. It prints lines with times of the clock that all processes share: "began TIME", "joined ID TIME" and "left ID TIME" for each of the others.
type joiner struct {
	System string // trivial, raw or mesh
	Dir    string // for sockets
	ID     int    // 1 and up
	Others []int  // raw: who is there
	Hold   bool   // print "ready" and begin with the first byte on standard input
}

// What joins.
const (
	trivial  = "trivial" // a process that does nothing
	meshName = "mesh"
)

// runJoiner is the process of a joiner. It ends when its standard input does.
func runJoiner() error {
	var j joiner
	if err := child.Task(&j); err != nil {
		return err
	}
	switch j.System {
	case trivial:
		return errors.Join(j.begin(), untilEnd())
	case raw:
		return j.joinRaw()
	case meshName:
		return j.joinMesh()
	default:
		return fmt.Errorf("no system %q", j.System)
	}
}

// begin prints when it begins.
func (j joiner) begin() error {
	if j.Hold {
		fmt.Println("ready")
		if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
			return err
		}
	}
	return stamp("began")
}

func stamp(what string) error {
	now, err := monotonic()
	if err == nil {
		fmt.Println(what, now)
	}
	return err
}

func untilEnd() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// joinMesh joins as a node of a cluster does.
func (j joiner) joinMesh() (err error) {
	if err := j.begin(); err != nil {
		return err
	}
	mesh, err := joinMesh(j.Dir, j.ID)
	if err != nil {
		return err
	}
	mesh.OnEvent(func(e peer.Event) {
		if err := stamp(fmt.Sprint(e.Type, " ", e.Peer.ID)); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	})
	return errors.Join(untilEnd(), mesh.Close())
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

// joinRaw says hello to each of the others on a socket, with what one writes without a library.
func (j joiner) joinRaw() error {
	p := player{Dir: j.Dir, ID: j.ID}
	a, err := p.accept(welcome)
	if err != nil {
		return err
	}
	if err := j.begin(); err != nil {
		return errors.Join(err, a.Close())
	}
	conns, err := j.hello(p)
	err = errors.Join(err, untilEnd())
	for _, conn := range conns {
		err = errors.Join(err, conn.Close())
	}
	return errors.Join(err, a.Close())
}

// hello dials all and then waits for their answers.
func (j joiner) hello(p player) (conns []net.Conn, err error) {
	for _, id := range j.Others {
		conn, err := p.dial(context.Background(), id)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
		if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, uint64(j.ID))); err != nil {
			return conns, err
		}
	}
	for i, conn := range conns {
		if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
			return conns, err
		}
		if err := stamp(fmt.Sprint("joined ", j.Others[i])); err != nil {
			return conns, err
		}
	}
	return conns, nil
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
