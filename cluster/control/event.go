package control

import "time"

// EventKind is the kind of an event.
type EventKind string

// The kinds of events.
const (
	EventStarted  EventKind = "started"  // a process was started
	EventReady    EventKind = "ready"    // a node is ready
	EventSuspect  EventKind = "suspect"  // a node does not answer
	EventTrusted  EventKind = "trusted"  // a suspect has answered
	EventHung     EventKind = "hung"     // a node is being ended, since it did not answer or leave
	EventDraining EventKind = "draining" // a node was told to leave
	EventDrained  EventKind = "drained"  // a node gets no new connections, and has closed its listener
	EventLeft     EventKind = "left"     // a node that was told to leave has ended
	EventDied     EventKind = "died"     // a node has ended without being told to leave
	EventAdopted  EventKind = "adopted"  // a node of a master that is gone has a new one
	EventStranger EventKind = "stranger" // a process of our user that is no node listens on the port, or does worse: see Text
	EventMended   EventKind = "mended"   // connections are steered by our weights again, which a stranger had replaced

	EventReloading   EventKind = "reloading" // a reload begins
	EventReloaded    EventKind = "reloaded"  // all nodes were replaced
	EventScaling     EventKind = "scaling"   // a change of the number of nodes begins
	EventScaled      EventKind = "scaled"
	EventFailed      EventKind = "failed"       // a reload or a scale has ended with an error
	EventHandingOver EventKind = "handing-over" // a takeover begins
	EventHandedOver  EventKind = "handed-over"  // another process is the master now, that of PID
	EventPaused      EventKind = "paused"       // a node gets no new connections
	EventResumed     EventKind = "resumed"      // it gets them again
	EventStopping    EventKind = "stopping"
	EventLeftBehind  EventKind = "left-behind" // the cluster stops, and a process still listens on its port
)

// Event is something that happened in the cluster, as its master sees it.
type Event struct {
	Seq        int           `json:"seq"` // counts from 1
	Time       time.Time     `json:"time"`
	Kind       EventKind     `json:"kind"`
	ID         int           `json:"id"` // of the node; -1: of none
	Slot       int           `json:"slot"`
	Generation int           `json:"generation,omitempty"`
	PID        int           `json:"pid,omitempty"`
	Text       string        `json:"text,omitempty"` // the reason, or other details
	Took       time.Duration `json:"took,omitempty"` // nanoseconds
}
