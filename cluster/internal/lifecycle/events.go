package lifecycle

import (
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// Event is something that has happened: one of the types below.
type Event any

// ID is the id of the worker that an event is about.
type ID int

func (i ID) worker() int { return int(i) }

// Info identifies a worker.
type Info struct{ ID, Slot, Generation, PID int }

// Events of the cluster.
type (
	// Fill says that the slots are to be filled from now on.
	Fill struct{}
	// Ending says that the master begins to stop. No slot is filled from now on, and a takeover is called off. The result is Settled.
	Ending struct{}
	// Stop says that all workers are to leave within Timeout.
	Stop struct {
		Timeout time.Duration
	}
	// Cut says that all workers that are left are to be killed.
	Cut struct{}
	// Quit says that the machine ends, and the workers live on without it.
	Quit struct{}
	// Hold says that no order is to be carried out until Release. Status shows Name as the operation that runs.
	Hold struct{ Name string }
	// Release is the end of Hold.
	Release struct{}
	// Tick says that time has passed.
	Tick struct{}
)

// Events of a worker.
type (
	// Adopted says that another master has left a worker. Gone is why its process could not be adopted; nil: it was.
	Adopted struct {
		Info Info
		Gone error
	}
	// Absent says that a worker of another master lives, and did not answer.
	Absent struct {
		Info Info
	}
	// Met says that a worker has appeared that a previous master has started, or a master to which the workers are lent.
	Met struct {
		Info Info
	}
	// Started says that a Start was carried out.
	Started struct{ Info Info }
	// StartFailed says that a Start could not be carried out. Exit says why. The id is not used.
	StartFailed struct {
		Info Info
		Exit Exit
	}
	// Linked says that the control stream of a worker is open.
	Linked struct{ ID }
	// Unlinked says that the control stream has ended.
	Unlinked struct{ ID }
	// Greeted says that the listeners of an adopted worker are known.
	Greeted struct{ ID }
	// Ready says that a worker serves. A Mute worker does not use this package, and so is not probed.
	Ready struct {
		ID
		Mute bool
	}
	// Failed says that a worker has reported the error with which its node ends.
	Failed struct {
		ID
		Reason string
	}
	// Drained says that a worker has closed its listeners, after the time Took.
	Drained struct {
		ID
		Took time.Duration
	}
	// Answered says that a worker has answered a probe.
	Answered struct{ ID }
	// Missed says that a worker has not answered for a further Elapsed, in which it waited for a CPU for the time Starved. If
	// Over, no answer will arrive to that probe.
	Missed struct {
		ID
		Elapsed, Starved time.Duration
		Over             bool
	}
	// Exited says that the process of a worker is gone.
	Exited struct {
		ID
		Exit Exit
	}
)

// Exit says how a worker has ended.
type Exit struct {
	Reason    string  // "exit code 1", "signal: killed", ...
	Done      bool    // by itself, and without an error
	LastWords string  // the end of its standard error
	Left      string  // processes that it has left behind, and that were ended; "": none
	Alive     string  // processes that it has left behind, and that could not be ended
	Fatal     error   // why other processes of the program would end like this one; nil: that is not known
	Jitter    float64 // a random number in [-1, 1)
}

// Kind is the kind of an order.
type Kind int

// The kinds of orders.
const (
	Reload   Kind = iota // all nodes are replaced
	Scale                // there are to be Count nodes
	ScaleBy              // Count more nodes, within the bounds
	Drain                // one node is replaced
	Takeover             // a successor becomes the master
)

// Order is an order of the user. Orders are carried out one after the other.
type Order struct {
	Seq    int // names it, from 1
	Kind   Kind
	Name   string // as Status shows it
	Count  int    // of Scale and ScaleBy
	Node   int    // of Drain: its id
	AtOnce bool   // it is not to wait for others
	Signal string // the signal that has brought it, "": none; a waiting order stands for further signals of its name

	merged bool // with further ones
}

type (
	// Cancel says that the caller of an order no longer waits, for the reason Err.
	Cancel struct {
		Seq int
		Err error
	}
	// Done says that Room or LeavePorts was carried out for an order. Err is why it could not be.
	Done struct {
		Seq int
		Err error
	}
)

// Action is something to be done: one of the types below.
type Action any

type (
	// Start a worker. The result is Started or StartFailed.
	Start struct {
		Slot, Generation int
	}
	// Ask a worker to leave within Timeout. All: the whole cluster stops.
	Ask struct {
		ID      int
		Timeout time.Duration
		All     bool
	}
	// Dump makes a worker print its goroutines, and end.
	Dump struct {
		ID int
	}
	// Kill a worker.
	Kill struct {
		ID int
	}
	// Probe a worker. The result is Answered, or Missed with Over.
	Probe struct {
		ID int
	}
	// Measure for how long a worker has waited for a CPU. The result is Missed.
	Measure struct {
		ID      int
		Elapsed time.Duration
	}
	// Serve permits connections to a worker.
	Serve struct {
		ID int
	}
	// Suspect keeps connections from a worker if Is, and permits them if not.
	Suspect struct {
		ID int
		Is bool
	}
	// Gone says that a worker has no process.
	Gone struct {
		ID int
	}
	// AllReady says that each slot has been ready once.
	AllReady struct{}
	// Room finds out whether there is room for so many more nodes. The result is Done.
	Room struct {
		Seq, More int
	}
	// Reloading says that a reload begins, or has ended.
	Reloading struct{ Is bool }
	// LeavePorts makes the master leave all ports, and only supervise from then on. The result is Done.
	LeavePorts struct {
		Seq int
	}
	// Answer an order: it has ended, with Err.
	Answer struct {
		Seq int
		Err error
	}
	// Note says something in the log, and as an event of the cluster.
	Note struct {
		Level  Level
		Text   string // "": it is an event only
		Attrs  []any
		Worker *Info         // nil: it is about none
		Event  control.Event // without a Kind: it is no event
	}
	// End says that the machine is over. Err is why, unless it was told to end.
	End struct {
		Err error
	}
)

// Level is that of a Note.
type Level int

// The levels.
const (
	LevelInfo Level = iota
	LevelWarn
	LevelError
)
