//go:build linux

package ways

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// This program is also the servers: one variable says which, another holds its task as JSON.
const (
	roleVariable = "MULTINODE_WAYS_ROLE"
	taskVariable = "MULTINODE_WAYS_TASK"
)

// task is what a process of a server is told.
type task struct {
	Way        string // of a crew
	Addr       string
	Dir        string
	Workers    int
	GOMAXPROCS int    // of a worker
	Steering   string // of a cluster
}

// Role returns what this process is to run, if it was started as one of the servers.
func Role() (run func() error, ok bool) {
	run, ok = map[string]func() error{
		"go": runGo, "cluster": runCluster, "crew": runCrew, "receiver": runReceiver, "acceptor": runAcceptor,
		"fasthttp": runFasthttp, "fiber": runFiber,
	}[os.Getenv(roleVariable)]
	return run, ok
}

func readTask() (t task, err error) {
	if err := json.Unmarshal([]byte(os.Getenv(taskVariable)), &t); err != nil {
		return t, fmt.Errorf("ways: task: %w", err)
	}
	return t, nil
}

// command is this program in a role. GOMAXPROCS 0 leaves it to the Go runtime.
func command(role string, t task, gomaxprocs int) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), program) // ended by us, and in its time
	cmd.Env = append(without(os.Environ(), "GOMAXPROCS", roleVariable, taskVariable),
		roleVariable+"="+role, taskVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	if gomaxprocs > 0 {
		cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(gomaxprocs))
	}
	return cmd, nil
}

func without(env []string, names ...string) []string {
	return slices.DeleteFunc(env, func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(names, name)
	})
}

// What processes say and are told, a line each. The end of standard input is the order to stop.
const (
	saidWorker    = "worker " // with the address: a worker serves
	saidRestarted = "restarted"
	saidFailed    = "failed " // with an error, instead of restarted
	toldRestart   = "restart"
)

// sayWorkers says that so many workers serve.
func sayWorkers(n int, addr string) {
	for range n {
		fmt.Println(saidWorker + addr)
	}
}

// obey restarts the workers each time when it is told to, and returns when it is told to stop.
func obey(restart func() error) error {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if orders.Text() != toldRestart {
			return fmt.Errorf("ways: unknown order %q", orders.Text())
		}
		if err := restart(); err != nil {
			fmt.Println(saidFailed + err.Error())
			continue
		}
		fmt.Println(saidRestarted)
	}
	return orders.Err()
}

// awaitStop returns when standard input ends.
func awaitStop() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
