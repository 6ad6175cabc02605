// Package boot reads what the master passes to a process that it starts: a worker gets its [Role], and the successor of the
// master the [Handover].
//
// Each of them is an environment variable with JSON. This package reads the variables and unsets them before main runs, so that no
// process started by the program can take them for its own; for the same reason, the descriptors that they name are closed on
// exec from then on. The descriptors belong to the caller, which uses each once.
//
// Other versions of this package read the names of the variables and of their fields: a master starts the program as it is on
// disk then, and an older version may have started this process.
package boot

import (
	"encoding/json"
	"fmt"
	"os"
)

// inherit reads and unsets a variable. It returns nil if the variable is not set.
func inherit[T any](variable string) (*T, error) {
	value, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(variable); err != nil {
		return nil, err
	}
	told := new(T)
	if err := json.Unmarshal([]byte(value), told); err != nil {
		return nil, fmt.Errorf("environment variable %s, which only a master sets: %w", variable, err)
	}
	return told, nil
}

// environ returns a variable as inherit reads it, in the form of os.Environ.
func environ(variable string, told any) (string, error) {
	value, err := json.Marshal(told)
	return variable + "=" + string(value), err
}

// handoverVariable is the environment variable in which a successor finds its handover.
const handoverVariable = "MULTINODE_SUCCESSION"

// Handover describes a takeover to the successor that a master starts.
type Handover struct {
	Cluster    string  `json:"cluster"`
	Directory  string  `json:"directory"`
	PID        int     `json:"pid"`        // of the predecessor
	Generation int     `json:"generation"` // of the predecessor
	Nodes      int     `json:"nodes"`      // that accept connections
	Talk       uintptr `json:"talk"`       // descriptor of a Unix socket to the predecessor
}

// Environ returns the environment variable with which a successor is started.
func (h Handover) Environ() (string, error) { return environ(handoverVariable, h) }

var inheritedHandover, errHandover = inheritHandover()

func inheritHandover() (*Handover, error) {
	h, err := inherit[Handover](handoverVariable)
	if h != nil {
		closeOnExec(h.Talk)
	}
	return h, err
}

// InheritedHandover returns the handover that the predecessor of this process has passed to it, nil if there is none.
func InheritedHandover() (*Handover, error) { return inheritedHandover, errHandover }
