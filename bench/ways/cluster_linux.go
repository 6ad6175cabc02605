package ways

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cluster/control"
)

// nodesDir is the rendezvous directory, in that of the server.
const nodesDir = "nodes"

// clustered is package cluster, as it is but for the steering. Its master is one of the workers, and a node takes its share of
// the CPUs by itself.
func clustered(steering string) plan {
	return plan{
		command: ours(clusterRole, steering, 0),
		workers: nodesThatAccept, restart: (*Server).order,
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

func runCluster(t task) error {
	node, err := cluster.Listen(cluster.Options{
		Addr: t.Addr, Nodes: t.Workers, Steering: t.Variant, Name: "ways", Dir: filepath.Join(t.Dir, nodesDir),
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
