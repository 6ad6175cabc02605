package main

import (
	"context"
	"time"

	"github.com/multinode-go/multinode/peer"
)

// interval is the time until a peer that could not answer is asked again, and the time between two broadcasts of the people
// who are online: when a node dies, all its people come back at once.
const interval = 50 * time.Millisecond

// catchUp fetches what the others have. An error means that it is to be called again: even if a peer has died, which
// may have given to the others what it did not give to us.
func (l *relay) catchUp(ctx context.Context) error {
	for more := true; more; {
		answers, err := l.bus.RequestAll(ctx, topicHistory, l.room.refs())
		if err != nil {
			return err
		}
		more = false
		for _, a := range answers {
			var u update
			if err := a.Decode(&u); err != nil {
				return err
			}
			more = l.take(a.Peer.ID, u) || more
		}
	}
	return ctx.Err()
}

// take takes an update in, and tells whether there is more that we would keep.
func (l *relay) take(from int, u update) bool {
	more := u.More
	for _, m := range u.Messages { // the newest first: after one that is too old for us, all are
		_, kept := l.room.put(m)
		more = more && kept
	}
	l.room.told(from, u.Roll)
	return more
}

// event is called by the mesh.
func (l *relay) event(ctx context.Context, e peer.Event) {
	switch e.Type {
	case peer.Joined:
		l.room.joined(e.Peer.ID)
		select {
		case l.joined <- e.Peer:
		case <-ctx.Done():
		}
	case peer.Left:
		l.room.left(e.Peer.ID)
		select {
		case l.leftC <- struct{}{}:
		default: // it is asked for
		}
	}
}

// follow fetches what the others have whenever a peer has left, and from each that has joined: after a link was lost, a
// peer may come back with messages.
func (l *relay) follow(ctx context.Context) {
	for {
		select {
		case <-l.leftC:
			for l.catchUp(ctx) != nil && pause(ctx) {
			}
		case p := <-l.joined:
			l.work.Go(func() { l.meet(ctx, p) }) // ends with ctx; close waits for it
		case <-ctx.Done():
			return
		}
	}
}

// meet asks a peer until it has answered or has left. A guest of the mesh is no node and takes no part.
func (l *relay) meet(ctx context.Context, p peer.Info) {
	for p.Generation > 0 && l.isMember(p) {
		var u update
		m, err := l.bus.Request(ctx, p.ID, topicHistory, l.room.refs())
		if err == nil {
			err = m.Decode(&u)
		}
		if err == nil && !l.take(p.ID, u) {
			return
		}
		if err != nil && !pause(ctx) {
			return
		}
	}
}

func (l *relay) isMember(p peer.Info) bool {
	for _, other := range l.mesh.Peers() {
		if other.Incarnation == p.Incarnation {
			return true
		}
	}
	return false
}

// announce shows the people who are online, here and on the other nodes, when they have changed.
func (l *relay) announce(ctx context.Context) {
	for {
		select {
		case <-l.room.changedC:
		case <-ctx.Done():
			return
		}
		if own, changed := l.room.show(); changed {
			_ = l.bus.Broadcast(ctx, topicOnline, own) // a node that has not got it has left, and asks when it is back
		}
		if !pause(ctx) {
			return
		}
	}
}

// pause waits, and tells whether ctx lives on.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
