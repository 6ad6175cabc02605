package main

import (
	"context"
	"time"
)

// crowdInterval is how often browsers and nodes are told who is online, at most: when a node dies, all its people come
// back within a second.
const crowdInterval = 50 * time.Millisecond

type relay struct {
	room *room
}

func (l *relay) spread(message) error { return nil }

func (l *relay) run(ctx context.Context) {
	for {
		select {
		case <-l.room.changedC:
			l.room.show()
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(crowdInterval):
		case <-ctx.Done():
		}
	}
}
