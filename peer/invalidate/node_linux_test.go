package invalidate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/multinode-go/multinode/cluster"
)

const nodeEnv = "INVALIDATE_TEST_NODE"

func init() { programs[nodeEnv] = nodeProgram }

// nodeJob is the job of the test binary as a node of a cluster, master or worker, that is a citizen.
type nodeJob struct {
	citizenJob
	Nodes   int
	Sharing sharing
}

// sharing says which nodes share memory.
type sharing int

const (
	allShare sharing = iota
	someShare
	noneShares
)

func nodeProgram() int {
	var job nodeJob
	err := json.Unmarshal([]byte(os.Getenv(nodeEnv)), &job)
	if err == nil {
		err = job.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pid", os.Getpid(), err)
		return 1
	}
	return 0
}

// run is ready with its cache, not before.
func (job nodeJob) run() error {
	c, err := newCitizen(job.citizenJob)
	if err != nil {
		return err
	}
	opts := cluster.Options{
		Name: "coherence", Dir: job.Directory, Addr: "127.0.0.1:0", Nodes: job.Nodes, DisableMasterListen: true,
		ManualReady: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	node, err := cluster.Listen(opts, &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: patient})
	if err != nil {
		return err
	}
	if err := c.enter(node, job.Sharing); err != nil {
		return errors.Join(err, node.Shutdown(context.Background()))
	}
	c.work(context.Background())
	node.Ready()
	err = node.Wait()
	time.Sleep(afterlife)
	return errors.Join(err, c.cache.Close())
}

// enter takes a place in the ledger, where each process of the cluster's life has its own, and makes the cache.
func (c *citizen) enter(node *cluster.Node, share sharing) (err error) {
	if c.job.ID, err = c.ledger.enter(); err != nil {
		return err
	}
	c.job.Seed += uint64(c.job.ID)
	c.job.Slow = c.job.ID%3 == 0
	c.job.Messages = share == noneShares || share == someShare && c.job.ID%2 == 0
	c.bus = node.Bus()
	return c.makeCache()
}
