package control

import "time"

// StatusVersion is the version of Status as JSON. It changes when a field is removed or changes its meaning, not for new fields.
const StatusVersion = 1

// Status is the state of a cluster at one time.
type Status struct {
	Version   int       `json:"version"` // StatusVersion
	Cluster   string    `json:"cluster"`
	Directory string    `json:"directory"`
	PID       int       `json:"pid"` // of the master
	Since     time.Time `json:"since"`
	Address   string    `json:"address"` // of the main port
	Wanted    int       `json:"wanted"`  // nodes that are to accept connections

	// Doing is the operation that runs: "reload", "scale", "drain", "takeover", "stop", or "".
	Doing string `json:"doing,omitempty"`

	Nodes    []NodeStatus `json:"nodes"` // by slot, then id
	Steering Steering     `json:"steering"`
}

// State is a node's place in its life cycle.
type State string

// The states of a node.
const (
	StateWaiting  State = "waiting"  // the slot is empty until its next start
	StateStarting State = "starting" // runs, and is not ready
	StateReady    State = "ready"
	StatePaused   State = "paused"   // is ready, and gets no new connections until it is resumed
	StateSuspect  State = "suspect"  // does not answer, and gets no new connections where they can be steered
	StateDraining State = "draining" // was told to leave
	StateHung     State = "hung"     // did not answer, or leave, in time, and is being ended
	StateLooping  State = "crash-looping"
)

// NodeStatus is the state of one node.
type NodeStatus struct {
	ID         int       `json:"id"`
	Slot       int       `json:"slot"`
	Generation int       `json:"generation"`
	PID        int       `json:"pid"` // 0: none runs
	State      State     `json:"state"`
	Since      time.Time `json:"since"` // of the state
	Master     bool      `json:"master,omitempty"`
	Accepts    bool      `json:"accepts"`             // it has a listener in the group of the main port
	Restarts   int       `json:"restarts"`            // unplanned ones, of the slot
	LastExit   string    `json:"last_exit,omitempty"` // of the one before in the slot

	// Of the main port, as of the last answer of the node.
	Queue       int `json:"queue"`       // connections that wait to be accepted
	QueueLimit  int `json:"queue_limit"` // when the queue is full, the kernel drops new connections
	Connections int `json:"connections"` // open now; of an *http.Server only
	Requests    int `json:"requests"`    // in flight; of an *http.Server only

	// Weight is the node's share of the new connections of the main port in percent, as far as they are steered;
	// where the kernel's hash decides it is 0 for all.
	Weight float64 `json:"weight"`
}

// Steering is how the kernel's choice among the nodes is steered.
type Steering struct {
	Level   string   `json:"rung"`    // "hash", "incoming-cpu", "cbpf", "cbpf+migrate"
	Promise string   `json:"promise"` // the guarantee, in a sentence
	Advice  []Advice `json:"advice,omitempty"`

	// Sharing is how nodes watch each other's queues: "exclusive" (the kernel wakes an idle node) or "polling" (nodes look when they
	// accept); "" where queues are not shared.
	Sharing string `json:"sharing,omitempty"`

	// Known reports whether the master knows the index of each node in the kernel's group. While it does not, the hash decides.
	Known     bool       `json:"picture"`
	Strangers []Stranger `json:"strangers,omitempty"`

	// Contested: another process of this user replaces the program that steers, or has done so recently. Which processes get
	// connections is not known then, and the weights are 0.
	Contested bool `json:"contested,omitempty"`

	// Doing is the question about the port that the master is resolving, "" for none, and Since when. No join, leave or order
	// waits for it.
	Doing string    `json:"doing,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// Advice is a step that gives a better level of steering.
type Advice struct {
	Gives   string `json:"gives"`
	Command string `json:"command,omitempty"` // to run; none: nothing that a command could change
}

// Stranger is a process that listens on the port of the cluster, permanently or again and again, and is none of its nodes.
type Stranger struct {
	PID     int    `json:"pid"` // 0: the kernel does not show it
	Program string `json:"program,omitempty"`
	Address string `json:"address"`
	Joins   int    `json:"joins,omitempty"`  // how often it was seen to begin to listen
	Steers  bool   `json:"steers,omitempty"` // it was found to take connections by a program of its own
}
