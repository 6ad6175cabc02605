package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

const (
	// calm is how long it may take until all is well again, where time is judged.
	calm = 60 * time.Second
	// slack is for what comes and goes by itself.
	slack = 3
)

// holding is what a process has.
type holding struct{ descriptors, goroutines int }

// inventory is what a cluster has that is at peace.
type inventory struct {
	master  holding
	workers map[int]holding // by pid
}

// calm is how long the cluster may take until all is well again.
func (s *storm) calm() time.Duration {
	if s.untimed {
		return patience
	}
	return calm
}

// inventory waits until the cluster is at peace, and looks at what it has.
func (s *storm) inventory(ctx context.Context) (i inventory, err error) {
	status, err := s.Status(ctx)
	for end := time.Now().Add(s.calm()); err == nil && unrest(status) != ""; status, err = s.Status(ctx) {
		if time.Now().After(end) {
			return i, fmt.Errorf("after %v: %s", s.calm(), unrest(status))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return i, err
	}
	i.workers = make(map[int]holding)
	for _, n := range status.Nodes {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.PID))
		if err != nil {
			return i, err
		}
		goroutines, err := goroutinesOf(s.dir, n.PID)
		if err != nil {
			return i, err
		}
		has := holding{len(open), goroutines}
		if n.Master {
			i.master = has
		} else {
			i.workers[n.PID] = has
		}
	}
	return i, nil
}

// unrest tells what a cluster at peace has not.
func unrest(s control.Status) string {
	ready := 0
	for _, n := range s.Nodes {
		if n.Master {
			continue
		}
		if !isReady(n) {
			return fmt.Sprintf("node %d (pid %d) is %s, accepts %t", n.ID, n.PID, n.State, n.Accepts)
		}
		ready++
	}
	steered := s.Steering.Level != "hash" && s.Steering.Level != "incoming-cpu"
	switch {
	case ready != s.Wanted:
		return fmt.Sprintf("%d of %d nodes are ready", ready, s.Wanted)
	case s.Doing != "":
		return "it is busy with " + s.Doing
	case len(s.Steering.Strangers) > 0:
		return fmt.Sprintf("strangers: %v", s.Steering.Strangers)
	case steered && !s.Steering.Known:
		return "the picture is not certain"
	case steered && !equalWeights(s):
		return "the weights are not equal"
	}
	return ""
}

func equalWeights(s control.Status) bool {
	share := 100 / float64(s.Wanted)
	return !slices.ContainsFunc(s.Nodes, func(n control.NodeStatus) bool {
		return !n.Master && (n.Weight < share-0.1 || n.Weight > share+0.1)
	})
}

// judgePeace compares what there is after the storm with what was before.
func (s *storm) judgePeace(ctx context.Context, r *report, before inventory) error {
	if err := s.Scale(ctx, nodes, control.Wait); err != nil {
		return err
	}
	begin := load.Now()
	after, err := s.inventory(ctx)
	if err != nil {
		r.expect(false, "there is no peace: %v", err)
		return nil
	}
	r.note("at peace %s ms after the last order: picture certain, weights equal", ms(load.Now()-begin))
	s.judgeShares(ctx, r, after)
	left := func() string { return after.beyond(before) }
	for end := time.Now().Add(s.calm() / 2); left() != "" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if after, err = s.inventory(ctx); err != nil {
			return err
		}
	}
	r.expect(left() == "", "%s", left())
	r.note("descriptors of the master %d, before %d; goroutines %d, before %d", after.master.descriptors, before.master.descriptors,
		after.master.goroutines, before.master.goroutines)
	return nil
}

// beyond tells who has more than all had before.
func (i inventory) beyond(before inventory) string {
	var most holding // of a worker
	for _, has := range before.workers {
		most = holding{max(most.descriptors, has.descriptors), max(most.goroutines, has.goroutines)}
	}
	words := i.master.beyond(before.master, "the master")
	for pid, has := range i.workers {
		words = append(words, has.beyond(most, fmt.Sprintf("pid %d", pid))...)
	}
	return strings.Join(words, "; ")
}

func (h holding) beyond(most holding, who string) (words []string) {
	if limit := most.descriptors + slack; h.descriptors > limit {
		words = append(words, fmt.Sprintf("%s has %d descriptors, at most %d were expected", who, h.descriptors, limit))
	}
	if limit := most.goroutines + slack; h.goroutines > limit {
		words = append(words, fmt.Sprintf("%s has %d goroutines, at most %d were expected", who, h.goroutines, limit))
	}
	return words
}

// judgeShares asks the kernel by connections: each of the workers must get its share, and nobody else anything.
func (s *storm) judgeShares(ctx context.Context, r *report, at inventory) {
	const requests = 2000
	results, err := here().under(ctx, s.addr, []load.Plan{{Connections: 4}}, func(run *load.Runner) error { return await(run, requests) })
	if err != nil {
		r.expect(false, "no shares to be had: %v", err)
		return
	}
	var shares []string
	t := results[0]
	for worker, n := range t.ByWorker {
		share := float64(n) / float64(sent(t))
		shares = append(shares, fmt.Sprintf("%.1f %%", 100*share))
		pid, _ := strconv.Atoi(worker) // 0: it has not said
		r.expect(at.workers[pid] != holding{}, "pid %d answers and is no node", pid)
		r.expect(share > 0.8/nodes && share < 1.2/nodes, "pid %d has got %.1f %% of the connections", pid, 100*share)
	}
	r.expect(len(t.ByWorker) == nodes, "%d of %d nodes have answered", len(t.ByWorker), nodes)
	r.expectAll("after the storm", t)
	r.note("shares of %d connections after the storm: %s", t.Connections, strings.Join(shares, ", "))
}

// goroutinesSignal makes a server write how many goroutines it has into a file of its own.
const goroutinesSignal = unix.SIGUSR1

func goroutinesFile(dir string, pid int) string {
	return filepath.Join(dir, fmt.Sprintf("goroutines.%d", pid))
}

// tellGoroutines is a goroutine that ends with the process.
func tellGoroutines(dir string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, goroutinesSignal)
	path := goroutinesFile(dir, os.Getpid())
	for range asked {
		_ = os.WriteFile(path+".new", []byte(strconv.Itoa(runtime.NumGoroutine())), 0o600) // who asks will miss it
		_ = os.Rename(path+".new", path)
	}
}

// goroutinesOf asks a server how many goroutines it has.
func goroutinesOf(dir string, pid int) (n int, err error) {
	path := goroutinesFile(dir, pid)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	if err := unix.Kill(pid, goroutinesSignal); err != nil {
		return 0, os.NewSyscallError("kill", err)
	}
	var content []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if content, err = os.ReadFile(path); err == nil {
			return strconv.Atoi(string(content))
		}
	}
	return 0, err
}
