package roles

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// MessageSize is the size of all that is sent and answered, in bytes.
const MessageSize = 64

// What the first byte of a message asks for.
const (
	forAnswer = 'a' // as many bytes
	forCount  = 'c' // nothing
	forTotal  = 't' // how many were counted since the last time
)

func message(purpose byte) []byte {
	m := make([]byte, MessageSize)
	m[0] = purpose
	return m
}

// counter is what a peer has counted.
type counter uint64

// answer returns nil for a message that nobody answers.
func (c *counter) answer(message []byte) []byte {
	switch message[0] {
	case forCount:
		*c++
		return nil
	case forTotal:
		total := binary.BigEndian.AppendUint64(nil, uint64(*c))
		*c = 0
		return total
	default:
		return message
	}
}

// total reads the answer to forTotal.
func total(answer []byte) (int64, error) {
	if len(answer) != 8 {
		return 0, fmt.Errorf("want a total of 8 bytes, have %d", len(answer))
	}
	return int64(binary.BigEndian.Uint64(answer)), nil
}

// wholeAnswer checks that as many bytes have come back as in the baseline.
func wholeAnswer(answer []byte) error {
	if len(answer) != MessageSize {
		return fmt.Errorf("an answer of %d bytes, want %d", len(answer), MessageSize)
	}
	return nil
}

// Topics of the bus and of the brokers.
const (
	topicAll   = "all"   // all peers answer a message
	topicOne   = "one"   // the first peer does
	topicFlood = "flood" // nobody does
	topicFill  = "fill"  // asks a peer to have so many keys cached
	topicHits  = "hits"  // asks a peer to read, and to write, as an order says; it answers with hits
)

// Player is the job of a process of a group.
type Player struct {
	System string
	Dir    string // for sockets
	ID     int    // 0 is the leader of a team, which sends; the others answer and count
	Peers  int    // how many the leader has
	Broker string // address of the team's broker, if its system has one
	Window int    // bound of the bus, in bytes; 0 is its default
	Others []int  // whom a late joiner joins, when it gets a line on its standard input
}

// system is one way in which processes exchange messages, or join. Each of its functions runs in a process of its own.
type system struct {
	follow func(Player) (io.Closer, error)               // returns when the leader may come
	lead   func(context.Context, Player) (leader, error) // returns when all peers answer
}

// nothing is to be closed where the end of the process ends all.
var nothing = io.NopCloser(nil)

// leader is the process that sends. Its actions are called one at a time.
type leader struct {
	io.Closer
	actions
}

// actions are what a leader can do, by the name of the order.
type actions map[string]func(Order) (Result, error)

// link carries messages one way, which nobody answers.
type link struct {
	send   func() error          // may be called at the same time
	finish func() (int64, error) // comes after all sends, and returns how many messages have arrived
}

// messages are the actions of all systems.
//
// roundTrip returns when the first peer has answered a message with as many bytes, and fanOut when all have. connect returns a
// link to the first peer.
func messages(roundTrip, fanOut func() error, connect func() (link, error)) actions {
	return actions{
		RoundTrips: func(o Order) (Result, error) { return o.repeat(roundTrip) },
		FanOuts:    func(o Order) (Result, error) { return o.repeat(fanOut) },
		OneWay:     func(o Order) (Result, error) { return o.pour(connect) },
	}
}

// runPlayer is the process of a player. It ends when its standard input does.
func runPlayer(p Player) error {
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
	return errors.Join(child.AwaitEnd(), follower.Close())
}

// runLeader carries out orders, one line of JSON each, and answers each with a result.
func (s system) runLeader(p Player) error {
	ctx, cancel := context.WithCancel(context.Background()) // can be cancelled, as that of most programs
	defer cancel()
	l, err := s.lead(ctx, p)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o Order
		err := orders.Decode(&o)
		if errors.Is(err, io.EOF) {
			return l.Close()
		}
		if err != nil {
			return err
		}
		r, err := l.carryOut(o)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", p.System, o.Do, err)
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
}

func (a actions) carryOut(o Order) (Result, error) {
	do, ok := a[o.Do]
	switch {
	case ok:
		return do(o)
	case o.Do == Prepare:
		return Result{}, nil // there is nothing to prepare
	default:
		return Result{}, errors.New("nobody here can do that")
	}
}
