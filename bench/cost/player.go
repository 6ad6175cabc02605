package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// messageSize is the size of all that is sent and answered, in bytes.
const messageSize = 64

// player is the job of a process of a team.
type player struct {
	System string
	Dir    string // for sockets
	ID     int    // 0 is the leader, which sends; the others answer and count
	Peers  int    // how many the leader has
	Broker string // address of the team's broker, if its system has one
	Window int    // bound of the bus, in bytes; 0 is its default
}

// system is one way in which processes exchange messages. Each of its functions runs in a process of its own.
type system struct {
	follow func(player) (io.Closer, error)               // returns when the leader may come
	lead   func(context.Context, player) (leader, error) // returns when all peers answer
}

// leader is the process that sends. Its methods are called one at a time.
type leader interface {
	// fanOut returns when all peers have answered a message with as many bytes.
	fanOut() error
	Close() error
}

// messenger is a leader that also sends to the first peer alone.
type messenger interface {
	// roundTrip returns when the first peer has answered.
	roundTrip() error
	// link returns a link to the first peer, for messages that nobody answers.
	link() (link, error)
}

var (
	_ messenger = (*rawLeader)(nil)
	_ messenger = (*framedLeader)(nil)
	_ messenger = (*busLeader)(nil)
	_ messenger = (*natsLeader)(nil)
)

// link carries messages one way.
type link interface {
	// send may be called at the same time.
	send() error
	// finish comes after all sends, and returns how many messages have arrived.
	finish() (int64, error)
}

// runPlayer is the process of a player. It ends when its standard input does.
func runPlayer() error {
	var p player
	if err := child.Task(&p); err != nil {
		return err
	}
	s, ok := systems[p.System]
	if !ok {
		return fmt.Errorf("no system %q", p.System)
	}
	if p.ID == 0 {
		return s.runLeader(p)
	}
	follower, err := s.follow(p)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, follower.Close())
}

// runLeader carries out orders, one line of JSON each, and answers each with a result.
func (s system) runLeader(p player) error {
	ctx, cancel := context.WithCancel(context.Background()) // can be cancelled, as that of most programs
	defer cancel()
	l, err := s.lead(ctx, p)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		err := orders.Decode(&o)
		if errors.Is(err, io.EOF) {
			return l.Close()
		}
		if err != nil {
			return err
		}
		r, err := o.carryOut(l)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", p.System, o.Do, err)
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
}
