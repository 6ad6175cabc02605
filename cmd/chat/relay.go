package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

const (
	// spreadTimeout bounds a message's way to the other nodes. A node that hangs is killed long before.
	spreadTimeout = 30 * time.Second
	// maxUpdate bounds the texts in an update, in bytes: the bus takes 16 MiB.
	maxUpdate = 1 << 20
)

// The topics on the bus.
const (
	topicSay     = "chat.say"     // a new message; the answer is its stamp at the node that answers
	topicHistory = "chat.history" // refs of the messages of the requester; the answer is the messages that it lacks
	topicOnline  = "chat.online"  // the roll of the sender, when it has changed
)

// update is the messages that a node lacks, the newest first, and the people on the node that answers.
type update struct {
	Messages []message `json:"messages"`
	More     bool      `json:"more"` // there is more: ask again
	Roll     roll      `json:"roll"`
}

// relay keeps the rooms of all nodes alike.
//
// A message is acknowledged when each node that has subscribed has it. A new node subscribes first and then fetches the
// history, which has all messages from before its subscription was known, so it misses none. And whenever a node joins or
// leaves, the histories of the others are fetched again: it may have left while a message of it was on its way to some nodes
// and not to others.
type relay struct {
	room          *room
	mesh          *peer.Mesh
	bus           *bus.Bus
	subscriptions []*bus.Subscription
	remove        func() // ends the calls of event

	work   sync.WaitGroup // the goroutines that stop ends
	stop   context.CancelFunc
	leftC  chan struct{}  // a peer has left since catchUp was called last
	joined chan peer.Info // has joined, and has not been met
}

// newRelay returns when the room has what the others have, or ctx is done.
func newRelay(ctx context.Context, room *room, mesh *peer.Mesh, b *bus.Bus) (*relay, error) {
	l := &relay{room: room, mesh: mesh, bus: b, leftC: make(chan struct{}, 1), joined: make(chan peer.Info)}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	if err := l.subscribe(); err != nil {
		l.close()
		return nil, err
	}
	l.work.Go(func() { l.announce(running) }) // these two end with running; close waits for them
	l.work.Go(func() { l.follow(running) })
	l.remove = mesh.OnEvent(func(e peer.Event) { l.event(running, e) })
	if err := l.start(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *relay) subscribe() error {
	say, err1 := l.bus.Subscribe(topicSay, func(_ context.Context, said bus.Message) (any, error) {
		var m message
		if err := said.Decode(&m); err != nil {
			return nil, err
		}
		held, _ := l.room.put(m)
		return held, nil
	})
	history, err2 := l.bus.Subscribe(topicHistory, func(_ context.Context, m bus.Message) (any, error) {
		var have []ref
		if err := m.Decode(&have); err != nil {
			return nil, err
		}
		return l.room.update(have), nil
	})
	online, err3 := l.bus.Subscribe(topicOnline, func(_ context.Context, m bus.Message) (any, error) {
		var r roll
		if err := m.Decode(&r); err != nil {
			return nil, err
		}
		l.room.told(m.From.ID, r)
		return nil, nil
	})
	for _, s := range []*bus.Subscription{say, history, online} {
		if s != nil {
			l.subscriptions = append(l.subscriptions, s)
		}
	}
	return errors.Join(err1, err2, err3)
}

// start fetches the history, once all peers know that we take what is new.
func (l *relay) start(ctx context.Context) error {
	for {
		err := l.bus.Flush(ctx)
		if err == nil {
			err = l.catchUp(ctx)
		}
		if err == nil {
			return nil
		}
		if !pause(ctx) {
			return fmt.Errorf("fetch the history of the other nodes: %w", err)
		}
	}
}

// close leaves the bus and the mesh alone, which belong to the node.
func (l *relay) close() {
	l.stop()
	if l.remove != nil {
		l.remove()
	}
	l.work.Wait()
	for _, s := range l.subscriptions {
		_ = s.Close() // always nil
	}
}

// spread brings a message to all nodes, and returns nil when each that lives has it. If one has it with a lower stamp, as
// it was said before on a node that has died, all others get it once more with that.
func (l *relay) spread(ctx context.Context, m message) error {
	ctx, cancel := context.WithTimeout(ctx, spreadTimeout)
	defer cancel()
	for {
		lowest := m.stamp
		answers, _ := l.bus.RequestAll(ctx, topicSay, m) // each has its own error
		for _, a := range answers {
			var held stamp
			err := a.Err
			if err == nil {
				err = a.Decode(&held)
			}
			switch {
			case err == nil && held.compare(lowest) < 0:
				lowest = held
			case err != nil && !isGone(err):
				return err
			}
		}
		if lowest == m.stamp {
			return ctx.Err()
		}
		m.stamp = lowest
		l.room.put(m)
	}
}

// isGone reports whether a peer has ended, or is about to: it no longer counts.
func isGone(err error) bool {
	return errors.Is(err, bus.ErrPeerLeft) || errors.Is(err, bus.ErrNoPeer) || errors.Is(err, bus.ErrNoSubscriber)
}
