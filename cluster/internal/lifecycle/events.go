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

// Info says who a worker is.
type Info struct{ ID, Slot, Generation, PID int }

// What happens to the cluster.
type (
	// Fill tells that the slots are to be filled from now on.
	Fill struct{}
	// Ending tells that the master begins to stop: no slot is filled any more, and a takeover is called off. Settled comes of it.
	Ending struct{}
	// Stop tells that all workers are to leave within Timeout.
	Stop struct {
		Timeout time.Duration
	}
	// Cut tells that all workers that are left are to be killed.
	Cut struct{}
	// Quit tells that the workers live on without this machine, which is over.
	Quit struct{}
	// Hold tells that no order is to be carried out until Release. Status says that Name goes on.
	Hold struct{ Name string }
	// Release is the end of Hold.
	Release struct{}
	// Tick tells that time has passed.
	Tick struct{}
)

// What happens to a worker.
type (
	// Adopted tells that another master has left a worker. Gone is why its process could not be adopted; nil: it was.
	Adopted struct {
		Info Info
		Gone error
	}
	// Absent tells that a worker of another master lives, and did not answer.
	Absent struct {
		Info Info
	}
	// Met tells that a worker has come that a master before has started, or one to which the workers are lent.
	Met struct {
		Info Info
	}
	// Started tells that a Start was carried out.
	Started struct{ Info Info }
	// StartFailed tells that a Start could not be carried out. Exit says why. The id is nobody's.
	StartFailed struct {
		Info Info
		Exit Exit
	}
	// Linked tells that the control stream of a worker is there.
	Linked struct{ ID }
	// Unlinked tells that it has ended.
	Unlinked struct{ ID }
	// Greeted tells that it is known what an adopted worker has.
	Greeted struct{ ID }
	// Ready tells that a worker serves. Mute says that it does not talk to us, and so is not probed.
	Ready struct {
		ID
		Mute bool
	}
	// Failed tells with which error the node of a worker ends, by its own word.
	Failed struct {
		ID
		Reason string
	}
	// Drained tells that a worker has no listener any more, which took the time Took.
	Drained struct {
		ID
		Took time.Duration
	}
	// Answered tells that a worker has answered a probe.
	Answered struct{ ID }
	// Missed tells that a worker has not answered for the time Elapsed more, of which it waited for a CPU for the time Starved,
	// and Over that no answer will come to that probe.
	Missed struct {
		ID
		Elapsed, Starved time.Duration
		Over             bool
	}
	// Exited tells that the process of a worker is gone.
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

// Kind says what an order orders.
type Kind int

// The kinds of orders.
const (
	Reload   Kind = iota // all nodes are replaced
	Scale                // there are to be Count nodes
	ScaleBy              // there are to be so many more nodes, as far as the bounds allow
	Drain                // one node is replaced
	Takeover             // a successor becomes the master
)

// Order is an order of the user. Orders are carried out one after the other.
type Order struct {
	Seq    int // names it, from 1
	Kind   Kind
	Name   string // what Status says
	Count  int    // of Scale and ScaleBy
	Node   int    // of Drain: its id
	AtOnce bool   // it is not to wait for others
	Signal string // the signal that has brought it, "": none; a waiting order stands for further signals of its name

	merged bool // with further ones
}

type (
	// Cancel tells that nobody waits for an order any more, for the reason Err.
	Cancel struct {
		Seq int
		Err error
	}
	// Done tells that what was to be done for an order is done: Room, LeavePorts. Err is why it could not be.
	Done struct {
		Seq int
		Err error
	}
)

// Action is something to be done: one of the types below.
type Action any

type (
	// Start a worker. Started tells how it went.
	Start struct {
		Slot, Generation int
	}
	// Ask a worker to leave within Timeout. All tells that the whole cluster stops.
	Ask struct {
		ID      int
		Timeout time.Duration
		All     bool
	}
	// Dump makes a worker tell what its goroutines do, and end.
	Dump struct {
		ID int
	}
	// Kill a worker.
	Kill struct {
		ID int
	}
	// Probe a worker. Answered, or Missed with Over, comes of it.
	Probe struct {
		ID int
	}
	// Measure for how long a worker has waited for a CPU: Missed tells it.
	Measure struct {
		ID      int
		Elapsed time.Duration
	}
	// Serve lets a worker have connections.
	Serve struct {
		ID int
	}
	// Suspect lets a worker have connections only if it Is not.
	Suspect struct {
		ID int
		Is bool
	}
	// Gone tells that a worker has no process any more.
	Gone struct {
		ID int
	}
	// AllReady tells that each slot has been ready once.
	AllReady struct{}
	// Room finds out whether there can be so many more nodes. Done tells it.
	Room struct {
		Seq, More int
	}
	// Reloading tells that a reload begins, or has ended.
	Reloading struct{ Is bool }
	// LeavePorts lets the master leave all ports, and only supervise from then on. Done tells when it has.
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
	// End tells that the machine is over. Err is why, unless it was told to.
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
