package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// room is this node's copy of the conversation, and its browsers. Its methods wait neither for a browser nor for another
// node.
type room struct {
	self     int
	keep     int
	changedC chan struct{} // the people who are online have changed since show was called

	mu       sync.Mutex // guards what follows
	history  *history
	clock    int64 // of the last stamp given or seen
	presence *presence
	online   []byte // the crowd, encoded
	sessions map[*session]string
	closed   bool

	work sync.WaitGroup // sessions, and messages on their way to other nodes; added to by enter and by sessions only
}

func newRoom(self, keep int) *room {
	r := &room{
		self: self, keep: keep, changedC: make(chan struct{}, 1), history: newHistory(keep),
		presence: newPresence(self), sessions: make(map[*session]string),
	}
	r.showLocked()
	return r
}

var errClosing = errors.New("the node is stopping")

// enter brings a browser up to date; from then on it gets what happens.
func (r *room) enter(s *session, name string, have []ref) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosing
	}
	s.send(welcome{
		Type: "welcome", Node: r.self, PID: os.Getpid(), Keep: r.keep,
		Messages: r.history.missing(have), Gone: r.history.gone(have),
	})
	s.showCrowd()
	r.sessions[s] = name
	r.work.Add(1)
	r.changed()
	return nil
}

func (r *room) leave(s *session) {
	defer r.work.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s)
	r.changed()
}

func (r *room) rename(s *session, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[s] = name
	r.changed()
}

// say gives the message of a browser its place, and shows it to all browsers of this node. A message that is here
// already is returned as it is.
func (r *room) say(s *session, id, text string) message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.history.get(id); ok {
		return m
	}
	r.clock = max(r.clock+1, time.Now().UnixMicro())
	m := message{ID: id, stamp: stamp{r.clock, r.self}, Name: r.sessions[s], Text: text}
	r.mergeLocked(m)
	return m
}

// put takes a message of another node. It returns the stamp that it has here, and whether it is kept: it may be older than
// all that is.
func (r *room) put(m message) (held stamp, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mergeLocked(m)
	if known, ok := r.history.get(m.ID); ok {
		return known.stamp, true
	}
	return m.stamp, false
}

func (r *room) mergeLocked(m message) {
	r.clock = max(r.clock, m.At)
	if !r.history.merge(m) {
		return
	}
	frame := encode(delivery{"message", m}) // once for all
	for s := range r.sessions {
		s.send(frame)
	}
}

// update returns what a node that has so much lacks, or the newest part of it.
func (r *room) update(have []ref) update {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := update{Messages: r.history.missing(have), Roll: r.presence.rolls[r.self]}
	slices.Reverse(u.Messages)
	size := 0
	for i, m := range u.Messages {
		if size += len(m.Text); size > maxUpdate && i > 0 {
			u.Messages, u.More = u.Messages[:i], true
			break
		}
	}
	return u
}

func (r *room) refs() []ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.history.refs()
}

// told stores the roll of another node; joined and left report the nodes.
func (r *room) told(node int, names roll) { r.change(func(p *presence) { p.told(node, names) }) }
func (r *room) joined(node int)           { r.change(func(p *presence) { p.joined(node) }) }
func (r *room) left(node int)             { r.change(func(p *presence) { p.left(node) }) }

func (r *room) change(f func(*presence)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.presence)
	r.changed()
}

// changed asks for a call of show.
func (r *room) changed() {
	select {
	case r.changedC <- struct{}{}:
	default: // it is asked for
	}
}

// show sends all browsers the people who are online. It returns our own roll, and whether it has changed since the last call.
func (r *room) show() (own roll, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.showLocked()
}

func (r *room) showLocked() (own roll, changed bool) {
	own, changed = r.presence.own(slices.Compact(slices.Sorted(maps.Values(r.sessions))))
	r.online = encode(crowd{"online", r.presence.people()})
	for s := range r.sessions {
		s.showCrowd()
	}
	return own, changed
}

// crowd returns the people who are online, encoded.
func (r *room) crowd() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.online
}

// close sends all browsers to other nodes, and admits no more. It returns when the last browser has gone and the other nodes
// have their messages, or when ctx is done.
func (r *room) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	for s := range r.sessions {
		s.end(websocket.StatusGoingAway, errClosing.Error())
	}
	r.mu.Unlock()
	idle := make(chan struct{})
	go func() { // ends with the last session, which sends and closes within bounds
		r.work.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encode encodes one of our own types, which cannot fail.
func encode(v any) []byte {
	frame, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return frame
}
