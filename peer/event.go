package peer

import "slices"

// EventType is the type of an Event.
type EventType int

// The types of events.
const (
	Joined EventType = iota + 1
	Left
)

// String returns "joined" or "left".
func (t EventType) String() string {
	switch t {
	case Joined:
		return "joined"
	case Left:
		return "left"
	}
	return "unknown"
}

// Reason says why a peer has left.
type Reason string

// The reasons for a peer to have left.
const (
	ReasonLeft Reason = "left" // it closed its mesh
	ReasonDied Reason = "died" // its process ended without Close
	ReasonCut  Reason = "cut"  // the link was lost or cut, but the process lives: it will join again
)

// Event is a change of the members.
type Event struct {
	Type   EventType
	Peer   Info
	Reason Reason // of Left
}

// watcher is a function of OnEvent, and the events that it has not handled yet.
type watcher struct {
	handle  func(Event)
	queue   []Event // guarded by core.mu
	running bool    // guarded by core.mu; a goroutine empties the queue
}

// onEvent is Mesh.OnEvent.
func (m *members) onEvent(f func(Event)) (remove func()) {
	w := &watcher{handle: f}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[w] = none{}
	for _, info := range m.peersLocked() {
		m.tellLocked(w, Event{Type: Joined, Peer: info})
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, w)
		w.queue = nil
	}
}

// emitLocked queues an event for all watchers, and wakes the goroutines that wait for a change.
func (m *members) emitLocked(event Event) {
	for w := range m.watchers {
		m.tellLocked(w, event)
	}
	m.changeLocked()
}

func (m *members) tellLocked(w *watcher, event Event) {
	if m.ended {
		return
	}
	w.queue = append(w.queue, event)
	if !w.running {
		w.running = true
		m.running.Go(func() { m.deliver(w) }) // ended by the end of the queue or by Close, which waits
	}
}

// deliver empties the queue of a watcher.
func (m *members) deliver(w *watcher) {
	for {
		m.mu.Lock()
		if len(w.queue) == 0 || m.ended {
			w.running = false
			m.mu.Unlock()
			return
		}
		event := w.queue[0]
		w.queue = slices.Delete(w.queue, 0, 1)
		m.mu.Unlock()
		w.handle(event)
	}
}
