package boot

import (
	"runtime"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// roleVariable is the environment variable in which a worker finds its role.
const roleVariable = "MULTINODE_ROLE"

// Role describes a worker to itself: the master passes it on at the start.
type Role struct {
	Cluster     string                 `json:"cluster"`
	Directory   string                 `json:"directory"`
	ID          int                    `json:"id"`
	Slot        int                    `json:"slot"`
	Generation  int                    `json:"generation"`
	Incarnation rendezvous.Incarnation `json:"incarnation"`
	Port        portgroup.Key          `json:"port"`             // that all nodes share; zero: the master does not know
	Procs       int                    `json:"procs,omitempty"`  // GOMAXPROCS, 0: leave it
	Stderr      uintptr                `json:"stderr,omitempty"` // descriptor of the true standard error, 0: it is 2 already
}

// Info returns the worker as other nodes know it.
func (r Role) Info() peer.Info {
	return peer.Info{
		Cluster: r.Cluster, ID: r.ID, Slot: r.Slot, Generation: r.Generation, Incarnation: r.Incarnation,
	}
}

// Environ returns the environment variable with which the worker is started.
func (r Role) Environ() (string, error) { return environ(roleVariable, r) }

var inheritedRole, errRole = inheritRole()

func inheritRole() (*Role, error) {
	r, err := inherit[Role](roleVariable)
	if r == nil {
		return nil, err
	}
	closeOnExec(r.Stderr)
	if r.Procs > 0 {
		runtime.GOMAXPROCS(r.Procs) // before main: a program that sets its own has the last word
	}
	return r, nil
}

// InheritedRole returns the role with which this process was started, nil if it is no worker.
func InheritedRole() (*Role, error) { return inheritedRole, errRole }
