package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/multinode-go/multinode/peer"
)

// roleVariable is the environment variable in which a worker finds its role.
const roleVariable = "MULTINODE_ROLE"

// role is what the master tells a worker at its start.
type role struct {
	Cluster     string           `json:"cluster"`
	Directory   string           `json:"directory"`
	ID          int              `json:"id"`
	Slot        int              `json:"slot"`
	Generation  int              `json:"generation"`
	Incarnation peer.Incarnation `json:"incarnation"`
	Port        portKey          `json:"port"`             // that all nodes share; zero: the master does not know
	Procs       int              `json:"procs,omitempty"`  // GOMAXPROCS, 0: leave it
	Stderr      uintptr          `json:"stderr,omitempty"` // descriptor of the true standard error, 0: it is 2 already
}

func (r role) info() peer.Info {
	return peer.Info{
		Cluster: r.Cluster, ID: r.ID, Slot: r.Slot, Generation: r.Generation, Incarnation: r.Incarnation,
	}
}

func (r role) environ() (string, error) {
	value, err := json.Marshal(r)
	return roleVariable + "=" + string(value), err
}

// inherited is the role with which this process was started. It is read, and the variable unset, before main runs, so
// that no process started by the program can take the role for its own.
var inherited, errInherited = inheritRole()

func inheritRole() (*role, error) {
	value, ok := os.LookupEnv(roleVariable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(roleVariable); err != nil {
		return nil, err
	}
	var r role
	if err := json.Unmarshal([]byte(value), &r); err != nil {
		return nil, fmt.Errorf("environment variable %s, which only a master sets: %w", roleVariable, err)
	}
	holdStderr(r.Stderr)
	if r.Procs > 0 {
		runtime.GOMAXPROCS(r.Procs) // before main: a program that sets its own has the last word
	}
	return &r, nil
}

var (
	roleMu    sync.Mutex
	roleTaken bool // guarded by roleMu
)

// takeRole returns the role of this process, nil for a master. A worker has one role, and can take it once.
func takeRole() (*role, error) {
	if inherited == nil {
		return nil, errInherited
	}
	roleMu.Lock()
	defer roleMu.Unlock()
	if roleTaken {
		return nil, errors.New("second Listen or Start in a worker: a process is in one cluster; use Node.Listen for more ports")
	}
	roleTaken = true
	return inherited, nil
}
