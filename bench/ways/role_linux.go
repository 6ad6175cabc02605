package ways

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// task is what a process of a server is told.
type task struct {
	Config         // of the server
	Variant string // the way of a crew, the steering of a cluster
}

// Roles of this program, which is also the servers.
const (
	goRole       = "ways go"
	clusterRole  = "ways cluster"
	crewRole     = "ways crew"
	workerRole   = "ways worker"
	fasthttpRole = "ways fasthttp"
	fiberRole    = "ways fiber"
)

// Roles returns what this program runs in each of them.
func Roles() map[string]func() error {
	return map[string]func() error{
		goRole: child.Role(runGo), clusterRole: child.Role(runCluster), crewRole: child.Role(runCrew),
		workerRole:   child.Role(runWorker),
		fasthttpRole: child.Role(runFasthttp), fiberRole: child.Role(runFiber),
	}
}

// ours makes the command of a way that is this program in a role.
func ours(role, variant string, gomaxprocs int) func(Config) (*exec.Cmd, error) {
	return func(c Config) (*exec.Cmd, error) { return command(role, task{c, variant}, gomaxprocs) }
}

// command is this program in a role. GOMAXPROCS 0 leaves it to the Go runtime.
func command(role string, t task, gomaxprocs int) (*exec.Cmd, error) {
	cmd, err := child.Command(context.Background(), role, t) // ended by us, and in its time
	if err != nil {
		return nil, err
	}
	child.SetGOMAXPROCS(cmd, gomaxprocs)
	return cmd, nil
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
