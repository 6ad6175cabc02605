package cost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// Topics of the bus: those of all peers, and those of the first one.
const (
	topicAll   = "all"
	topicFlood = "flood"
	topicOne   = "one"
	topicCount = "count"
)

// busNode is a node on the bus.
type busNode struct {
	*bus.Bus
	mesh *peer.Mesh
}

// joinBus joins as a worker whose id is one more than the player's, since id 0 is the master's.
func joinBus(p player) (n *busNode, err error) {
	n = new(busNode)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.mesh, err = joinMesh(p.Dir, busID(p.ID)); err != nil {
		return n, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.Bus, err = bus.New(ctx, n.mesh, bus.Options{Window: p.Window})
	return n, err
}

func busID(player int) int { return player + 1 }

func (n *busNode) Close() (err error) {
	if n.Bus != nil {
		err = n.Bus.Close()
	}
	if n.mesh != nil {
		err = errors.Join(err, n.mesh.Close())
	}
	return err
}

// followBus answers on the topic of all, and the first peer also on those that are its own.
func followBus(p player) (io.Closer, error) { return newBusFollower(p) }

func newBusFollower(p player) (*busNode, error) {
	n, err := joinBus(p)
	if err != nil {
		return nil, err
	}
	handlers := map[string]bus.Handler{topicAll: echoOnBus, topicFlood: takeFromBus}
	if p.ID == 1 {
		handlers[topicOne], handlers[topicCount] = echoOnBus, countOnBus()
	}
	for topic, handle := range handlers {
		_, subscribed := n.Subscribe(topic, handle)
		err = errors.Join(err, subscribed)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func echoOnBus(_ context.Context, m bus.Message) (any, error) { return m.Data, nil }

func takeFromBus(context.Context, bus.Message) (any, error) { return nil, nil }

// countOnBus counts messages up to one that asks for the total.
func countOnBus() bus.Handler {
	var counted uint64
	return func(_ context.Context, m bus.Message) (any, error) {
		if m.Data[0] != forTotal {
			counted++
			return nil, nil
		}
		total := binary.BigEndian.AppendUint64(nil, counted)
		counted = 0
		return total, nil
	}
}

type busLeader struct {
	*busNode
	ctx     context.Context // of the process
	peers   int
	message []byte
	flood   *flood // nil: none
}

func leadBus(ctx context.Context, p player) (leader, error) { return newBusLeader(ctx, p) }

func newBusLeader(ctx context.Context, p player) (*busLeader, error) {
	n, err := joinBus(p)
	if err != nil {
		return nil, err
	}
	l := &busLeader{busNode: n, ctx: ctx, peers: p.Peers, message: message(forAnswer)}
	// That all have subscribed may take a moment more to get here.
	for end := time.Now().Add(patience); ; {
		if err = l.fanOut(); err == nil {
			return l, nil
		}
		if time.Now().After(end) {
			return nil, errors.Join(err, n.Close())
		}
	}
}

func (l *busLeader) roundTrip() error {
	m, err := l.Request(l.ctx, busID(1), topicOne, l.message)
	if err != nil {
		return err
	}
	return wholeAnswer(m.Data)
}

func (l *busLeader) fanOut() error {
	answers, err := l.RequestAll(l.ctx, topicAll, l.message)
	if err != nil {
		return err
	}
	if len(answers) != l.peers {
		return fmt.Errorf("%d peers have answered, want %d", len(answers), l.peers)
	}
	for _, a := range answers {
		if err := errors.Join(a.Err, wholeAnswer(a.Data)); err != nil {
			return err
		}
	}
	return nil
}

func (l *busLeader) link() (link, error) { return busLink{l, message(forCount)}, nil }

type busLink struct {
	leader  *busLeader
	message []byte
}

func (l busLink) send() error { return l.leader.Send(l.leader.ctx, busID(1), topicCount, l.message) }

func (l busLink) finish() (int64, error) {
	m, err := l.leader.Request(l.leader.ctx, busID(1), topicCount, message(forTotal))
	if err != nil {
		return 0, err
	}
	return total(m.Data)
}
