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

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/proc"
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
	master, worker holding // the worker that has most
}

// inventory waits until the cluster is at peace, and looks at what it has.
func (s *storm) inventory(ctx context.Context) (i inventory, err error) {
	var status control.Status
	err = eventually(ctx, s.calm, func() (_ string, err error) {
		status, err = s.Status(ctx)
		return unrest(status), err
	})
	if err != nil {
		return i, err
	}
	for _, n := range status.Nodes {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.PID))
		if err != nil {
			return i, err
		}
		goroutines, err := goroutinesOf(ctx, s.dir, n.PID)
		if err != nil {
			return i, err
		}
		who := &i.worker
		if n.Master {
			who = &i.master
		}
		*who = holding{max(who.descriptors, len(open)), max(who.goroutines, goroutines)}
	}
	return i, nil
}

// unrest tells what a cluster at peace has not.
func unrest(s control.Status) string {
	workers := slices.DeleteFunc(slices.Clone(s.Nodes), func(n control.NodeStatus) bool { return n.Master })
	share := 100 / float64(s.Wanted)
	even := true
	for _, n := range workers {
		if !isReady(n) {
			return fmt.Sprintf("node %d (pid %d) is %s, accepts %t", n.ID, n.PID, n.State, n.Accepts)
		}
		even = even && n.Weight > share-0.1 && n.Weight < share+0.1
	}
	steered := s.Steering.Level != "hash" && s.Steering.Level != "incoming-cpu"
	switch {
	case len(workers) != s.Wanted:
		return fmt.Sprintf("%d of %d nodes are ready", len(workers), s.Wanted)
	case s.Doing != "":
		return "it is busy with " + s.Doing
	case len(s.Steering.Strangers) > 0:
		return fmt.Sprintf("strangers: %v", s.Steering.Strangers)
	case steered && !s.Steering.Known:
		return "the picture is not certain"
	case steered && !even:
		return "the weights are not equal"
	}
	return ""
}

// judgePeace compares what there is after the storm with what was before.
func (s *storm) judgePeace(ctx context.Context, r *report, before inventory) error {
	if err := s.Scale(ctx, nodes, control.Wait); err != nil {
		return err
	}
	begin := time.Now()
	after, err := s.inventory(ctx)
	if err != nil {
		r.expect(false, "there is no peace: %v", err)
		return nil
	}
	r.note("at peace %s ms after the last order: picture certain, weights equal", ms(time.Since(begin)))
	s.judgeShares(ctx, r)
	err = eventually(ctx, s.calm/2, func() (_ string, err error) {
		after, err = s.inventory(ctx)
		return after.master.beyond(before.master, "the master ") + after.worker.beyond(before.worker, "a worker "), err
	})
	r.expect(err == nil, "%v", err)
	r.note("descriptors of the master %d, before %d; goroutines %d, before %d", after.master.descriptors, before.master.descriptors,
		after.master.goroutines, before.master.goroutines)
	return nil
}

// beyond tells what who has more than before.
func (h holding) beyond(before holding, who string) string {
	if h.descriptors <= before.descriptors+slack && h.goroutines <= before.goroutines+slack {
		return ""
	}
	return fmt.Sprintf("%s has %d descriptors and %d goroutines, before %d and %d; ", who, h.descriptors, h.goroutines,
		before.descriptors, before.goroutines)
}

// judgeShares asks the kernel by connections: each of the workers must get its share, and nobody else anything.
func (s *storm) judgeShares(ctx context.Context, r *report) {
	const requests = 2000
	workers, _, err := s.ready(ctx)
	var shown *trial
	if err == nil {
		shown, err = here().under(ctx, s.addr, []load.Plan{{Connections: 4}}, func(t *trial) error { return await(ctx, t.load, requests) })
	}
	if err != nil {
		r.expect(false, "no shares to be had: %v", err)
		return
	}
	var shares []string
	t := shown.results[0]
	for worker, n := range t.ByWorker {
		share := float64(n) / float64(sent(t))
		shares = append(shares, fmt.Sprintf("%.1f %%", 100*share))
		r.expect(slices.ContainsFunc(workers, func(n control.NodeStatus) bool { return strconv.Itoa(n.PID) == worker }),
			"pid %s answers and is no node", worker)
		r.expect(share > 0.8/nodes && share < 1.2/nodes, "pid %s has got %.1f %% of the connections", worker, 100*share)
	}
	r.expect(len(t.ByWorker) == nodes, "%d of %d nodes have answered", len(t.ByWorker), nodes)
	r.expectAll("after the storm", t)
	r.note("shares of %d connections after the storm: %s", t.Connections, strings.Join(shares, ", "))
}

// processes returns those of the cluster.
func (s *storm) processes() []int {
	return proc.PIDs(proc.Find(func(stat procfs.ProcStat) bool {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", stat.PID))
		return err == nil && strings.Contains(string(environ), s.dir)
	}))
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
func goroutinesOf(ctx context.Context, dir string, pid int) (n int, err error) {
	path := goroutinesFile(dir, pid)
	if err := os.RemoveAll(path); err != nil {
		return 0, err
	}
	if err := unix.Kill(pid, goroutinesSignal); err != nil {
		return 0, os.NewSyscallError("kill", err)
	}
	err = eventually(ctx, patience, func() (string, error) {
		content, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Sprintf("pid %d does not say how many goroutines it has", pid), nil
		} else if err == nil {
			n, err = strconv.Atoi(string(content))
		}
		return "", err
	})
	return n, err
}
