//go:build linux

package ways

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cluster/control"
)

// nodesDir is the rendezvous directory, in that of the server.
const nodesDir = "nodes"

// clusterPlan is package cluster, as it is but for the steering. Its master is one of the workers.
func clusterPlan(steering string) func(Config) (plan, error) {
	return func(c Config) (plan, error) {
		return plan{
			command: func(addr, dir string) (*exec.Cmd, error) {
				t := task{Addr: addr, Dir: dir, Workers: c.Workers, Steering: steering}
				return command(clusterRole, t, c.GOMAXPROCS) // 0: a node takes its share by itself
			},
			workers: c.Workers, workerPIDs: nodesThatAccept, restart: (*Server).order,
		}, nil
	}
}

// nodesThatAccept asks the master. After a reload it is none of them.
func nodesThatAccept(dir string) (list []int, err error) {
	status, err := control.NewClient(filepath.Join(dir, nodesDir)).Status(context.Background())
	if err != nil {
		return nil, err
	}
	for _, n := range status.Nodes {
		if n.Accepts {
			list = append(list, n.PID)
		}
	}
	return list, nil
}

func runCluster() error {
	var t task
	if err := child.Task(&t); err != nil {
		return err
	}
	node, err := cluster.Listen(cluster.Options{
		Addr: t.Addr, Nodes: t.Workers, Steering: t.Steering, Name: "ways", Dir: filepath.Join(t.Dir, nodesDir),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", pid),
	}, newServer())
	if err != nil {
		return err
	}
	if !node.IsMaster() {
		return node.Wait()
	}
	if err := node.WaitReady(context.Background()); err != nil {
		return err
	}
	sayWorkers(t.Workers, node.Addr().String())
	if err := obey(func() error { return node.Reload(context.Background()) }); err != nil {
		return err
	}
	return shutdown(node)
}
