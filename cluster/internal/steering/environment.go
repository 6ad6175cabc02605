package steering

import (
	"log/slog"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/sightings"
	"github.com/multinode-go/multinode/reuseport"
)

// Program is a program that may not talk to us, and whose listeners are steered from outside.
type Program struct {
	Label   string                      // the name of its file
	Promise func(reuseport.Rung) string // the guarantee of a level, for people
}

// Config is given to New.
type Config struct {
	Force   string        // the steering level, "": the best
	Kernel  kernel.Kernel // nil: the operating system's
	Pauses  bool          // accept loops pause, see cluster.Options.AcceptPauses
	Program *Program
	Logger  *slog.Logger
	Tell    func(control.Event)
}

// environment is what the groups of all ports share.
type environment struct {
	*life
	*agents
	kernel    kernel.Kernel
	support   reuseport.Support
	level     reuseport.Rung // the best, or the one that is forced
	logger    *slog.Logger
	tell      func(control.Event)
	program   *Program // whose listeners these are; nil: this one
	pauses    bool     // accept loops pause, see Options.AcceptPauses
	sightings *sightings.Book
	lent      Lent          // nil: queues are not shared
	kicks     chan struct{} // holds a value when all groups are to be steered again
}

func newEnvironment(c Config, support reuseport.Support, level reuseport.Rung) *environment {
	e := &environment{
		life: newLife(), kernel: c.Kernel, support: support, level: level, logger: c.Logger, tell: c.Tell, program: c.Program, pauses: c.Pauses,
		sightings: sightings.New(level, c.Logger, c.Tell), kicks: make(chan struct{}, 1),
	}
	e.agents = newAgents(c.Kernel, e.kick)
	return e
}

// kick makes all groups steer by what has changed, and look at their ports, now.
func (e *environment) kick() {
	select {
	case e.kicks <- struct{}{}:
	default:
	}
}
