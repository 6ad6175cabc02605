package roles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// busNode is a node on the bus.
type busNode struct {
	*bus.Bus
	mesh *peer.Mesh
}

// joinBus joins as a worker whose id is one more than the player's, since id 0 is the master's.
func joinBus(p Player) (*busNode, error) {
	mesh, err := joinMesh(p.Dir, busID(p.ID))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := bus.New(ctx, mesh, bus.Options{Window: p.Window})
	return &busNode{b, mesh}, err
}

func busID(Player int) int { return Player + 1 }

func (n *busNode) Close() error { return errors.Join(n.Bus.Close(), n.mesh.Close()) }

// handle subscribes.
func (n *busNode) handle(handlers map[string]bus.Handler) (err error) {
	for topic, handle := range handlers {
		_, subscribed := n.Subscribe(topic, handle)
		err = errors.Join(err, subscribed)
	}
	return err
}

// followBus answers on the common topic, and the first peer also on its own topics.
func followBus(p Player) (io.Closer, error) { return newBusFollower(p) }

func newBusFollower(p Player) (*busNode, error) {
	n, err := joinBus(p)
	if err != nil {
		return nil, err
	}
	var counted counter // on topicOne: the messages of one peer come one after the other
	handlers := map[string]bus.Handler{
		topicAll:   func(_ context.Context, m bus.Message) (any, error) { return m.Data, nil },
		topicFlood: func(context.Context, bus.Message) (any, error) { return nil, nil },
	}
	if p.ID == 1 {
		handlers[topicOne] = func(_ context.Context, m bus.Message) (any, error) { return counted.answer(m.Data), nil }
	}
	return n, n.handle(handlers)
}

type busLeader struct {
	*busNode
	ctx     context.Context // of the process
	peers   int
	message []byte
}

func leadBus(ctx context.Context, p Player) (leader, error) {
	l, err := newBusLeader(ctx, p)
	if err != nil {
		return leader{}, err
	}
	can := messages(l.roundTrip, l.fanOut, l.link)
	maps.Copy(can, l.floods())
	return leader{l, can}, nil
}

func newBusLeader(ctx context.Context, p Player) (*busLeader, error) {
	n, err := joinBus(p)
	if err != nil {
		return nil, err
	}
	l := &busLeader{busNode: n, ctx: ctx, peers: p.Peers, message: message(forAnswer)}
	// That all have subscribed may take a moment more to get here.
	for end := time.Now().Add(patience); ; {
		if err = l.fanOut(); err == nil || time.Now().After(end) {
			return l, err
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

func (l *busLeader) fanOut() error { return l.askAll(topicAll, l.message, wholeAnswer) }

// askAll has each peer's answer checked.
func (l *busLeader) askAll(topic string, question []byte, check func([]byte) error) error {
	answers, err := l.RequestAll(l.ctx, topic, question)
	if err != nil {
		return err
	}
	if len(answers) != l.peers {
		return fmt.Errorf("%d peers have answered, want %d", len(answers), l.peers)
	}
	for _, a := range answers {
		if err := errors.Join(a.Err, check(a.Data)); err != nil {
			return err
		}
	}
	return nil
}

func (l *busLeader) link() (link, error) {
	one := message(forCount)
	finish := func() (int64, error) {
		m, err := l.Request(l.ctx, busID(1), topicOne, message(forTotal))
		if err != nil {
			return 0, err
		}
		return total(m.Data)
	}
	return link{func() error { return l.Send(l.ctx, busID(1), topicOne, one) }, finish}, nil
}
