package roles

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// busNode is a node on the bus.
type busNode struct {
	*bus.Bus
	mesh *peer.Mesh
	peers
}

// joinMesh joins as the worker of that id.
func joinMesh(ctx context.Context, dir string, id int) (*peer.Mesh, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return peer.Join(ctx, peer.Options{
		Directory: dir,
		Self:      peer.Info{Cluster: "bench", ID: id, Slot: id, Generation: 1},
	})
}

// busID is one more than the player's, since id 0 is the master's.
func busID(player int) int { return player + 1 }

// joinBus returns when all peers answer a leader.
func joinBus(ctx context.Context, p Player) (*busNode, error) {
	mesh, err := joinMesh(ctx, p.Dir, busID(p.ID))
	if err != nil {
		return nil, err
	}
	joining, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b, err := bus.New(joining, mesh, bus.Options{})
	if err != nil {
		return nil, err
	}
	n := &busNode{Bus: b, mesh: mesh}
	n.peers = peers{
		ask: func(topic string, question []byte, check func([]byte) error) error {
			return n.request(ctx, p, topic, question, check)
		},
		send: func(message []byte) error { return n.Send(ctx, busID(1), topicOne, message) },
	}
	if p.ID == 0 {
		return n, retry(func() error { return n.ask(topicAll, message(forAnswer), wholeAnswer) })
	}
	counted := new(counter)
	for _, topic := range p.topics() {
		_, failed := n.Subscribe(topic, func(_ context.Context, m bus.Message) (any, error) { return counted.answer(topic, m.Data) })
		err = errors.Join(err, failed)
	}
	return n, err
}

// retry returns when do has done it, which may take a moment after others have joined, or after patience.
func retry(do func() error) error {
	for end := time.Now().Add(patience); ; {
		if err := do(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (n *busNode) Close() error { return errors.Join(n.Bus.Close(), n.mesh.Close()) }

func (n *busNode) request(ctx context.Context, p Player, topic string, question []byte, check func([]byte) error) error {
	if topic == topicOne {
		m, err := n.Request(ctx, busID(1), topic, question)
		if err != nil {
			return err
		}
		return check(m.Data)
	}
	answers, err := n.RequestAll(ctx, topic, question)
	if err == nil && len(answers) != p.Peers {
		err = fmt.Errorf("%d peers have answered, want %d", len(answers), p.Peers)
	}
	for _, a := range answers {
		err = errors.Join(err, a.Err, check(a.Data))
	}
	return err
}

func becomeBus(ctx context.Context, p Player) (actor, error) {
	n, err := joinBus(ctx, p)
	if err != nil {
		return actor{}, err
	}
	can := n.exchanges()
	can[RoundTrips] = n.beside(ctx, can[RoundTrips])
	return actor{can, n.Close}, nil
}

// A flood is a broadcast of floodSize bytes each floodPause, by a goroutine that fails at the bound of the bus and, if it
// has two sources, by one that waits there. One fills the default bound of a peer that does not read in 0.3 s.
const (
	floodSize  = 4 << 10
	floodPause = time.Millisecond
)

// beside has a flood while an order is carried out that wants one. It begins when all peers have taken what was sent before, but
// for a peer that is stopped, at which the flood has to meet the bound: or the figures would show nothing.
func (n *busNode) beside(ctx context.Context, do func(Order) (Result, error)) func(Order) (Result, error) {
	return func(o Order) (r Result, err error) {
		if !o.Bound {
			if err := n.Flush(ctx); err != nil {
				return r, err
			}
		}
		flooding, cancel := context.WithCancel(ctx)
		var sources errgroup.Group
		for _, full := range []bus.Full{bus.Fail, bus.Block}[:o.Flood] {
			sources.Go(func() error { return flood(flooding, n.WhenFull(full)) })
		}
		refused := func() uint64 { return n.Stats().Total.Failed }
		before := refused()
		r, err = do(o)
		if err == nil && o.Bound {
			err = awaitBound(refused, before, patience)
		}
		cancel()
		return r, errors.Join(err, sources.Wait())
	}
}

func flood(ctx context.Context, b *bus.Bus) error {
	clock := time.NewTicker(floodPause)
	defer clock.Stop()
	data := make([]byte, floodSize)
	for {
		select {
		case <-clock.C:
		case <-ctx.Done():
			return nil
		}
		if err := b.Broadcast(ctx, topicFlood, data); err != nil && !errors.Is(err, bus.ErrFull) && ctx.Err() == nil {
			return err
		}
	}
}

// awaitBound returns an error if no more broadcasts are refused than before, within limit.
func awaitBound(refused func() uint64, before uint64, limit time.Duration) error {
	for end := time.Now().Add(limit); refused() == before; time.Sleep(floodPause) {
		if time.Now().After(end) {
			return fmt.Errorf("no broadcast was refused: a peer that does not read has not met the bound within %v", limit)
		}
	}
	return nil
}
