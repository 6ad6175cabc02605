package loss

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

// storm is random trouble. One goroutine chooses and kills; what takes time goes on beside it: orders to the cluster,
// processes that are stopped, and strangers.
type storm struct {
	*server
	*trial                 // whose faults are new masters
	counts  map[string]int // of deeds
	calm    time.Duration  // how long it may take until all is well again
	random  *rand.Rand
	victims victims
	running sync.WaitGroup // of all that goes on
	orders  chan struct{}  // holds a value for each order that runs

	mu       sync.Mutex
	timeline []moment // guarded by mu
	refused  int      // guarded by mu; orders that have failed
}

// moment is one at which something happened.
type moment struct {
	at   time.Duration
	wall time.Time // to find it in the log
	text string
}

const (
	fewest     = 3 // nodes
	most       = 6
	atOnce     = 2 // processes that fail, and orders
	maxBetween = 1200 * time.Millisecond
	nearby     = 3 * time.Second // what is told around a loss
)

// deed is something that happens, so often. It returns false when it cannot be done now.
type deed struct {
	name   string
	weight int
	do     func(*storm, context.Context) (bool, error)
}

var deeds = []deed{
	{"kill -9 of a worker", 5, (*storm).killWorker},
	{"kill -9 of the master", 3, (*storm).killMaster},
	{"SIGSTOP of a worker", 2, (*storm).stopWorker},
	{"reload", 3, (*storm).reload},
	{"scale", 3, (*storm).scale},
	{"drain", 4, (*storm).drain},
	{"stranger", 2, (*storm).stranger},
}

// proveChaos has a cluster live through a storm under load.
func proveChaos(ctx context.Context, c config, r *report) error {
	r.about("Chaos for %v, seed %d", c.Duration, c.Seed)
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ledger := filepath.Join(dir, "ledger")
	loads := []load.Plan{
		{Connections: c.Clients / 2, Strict: &load.Strict{Ledger: ledger}},
		{Connections: c.Clients / 2, Strict: &load.Strict{Ledger: ledger}, KeepAlive: true},
		{Connections: c.Clients, Strict: &load.Strict{Ledger: ledger, Think: 200 * time.Millisecond}, KeepAlive: true},
	}
	var processes []int // of the cluster, when all was judged but its end
	_, err = here().try(ctx, serve{Ledger: ledger}, nil, func(server *server, _ *trial) error {
		s := &storm{
			server: server, calm: calm, random: rand.New(rand.NewPCG(c.Seed, 0)), orders: make(chan struct{}, atOnce),
		}
		if c.Untimed {
			s.calm = patience
		}
		before, err := s.inventory(ctx)
		if err != nil {
			return err
		}
		_, err = here().under(ctx, s.addr, loads, func(t *trial) error { return s.rage(ctx, t, c.Duration) })
		if err != nil {
			return err
		}
		s.judge(r)
		if err := s.judgePeace(ctx, r, before); err != nil {
			return err
		}
		if r.err() != nil {
			fmt.Fprintln(os.Stderr, s.log(1<<30))
		}
		processes = s.processes()
		return nil
	})
	if processes == nil {
		return err
	}
	r.expect(err == nil, "the end: %v", err)
	for _, pid := range processes {
		r.expect(awaitGone(pid, patience), "process %d is left over", pid)
	}
	return nil
}

// rage lets the storm go on for so long, and waits until nothing of it goes on.
func (s *storm) rage(ctx context.Context, t *trial, duration time.Duration) error {
	s.trial, s.counts = t, make(map[string]int)
	var bag []deed
	for _, d := range deeds {
		bag = append(bag, slices.Repeat([]deed{d}, d.weight)...)
	}
	defer s.running.Wait()
	for end := time.Now().Add(duration); time.Now().Before(end); {
		d := bag[s.random.IntN(len(bag))]
		done, err := d.do(s, ctx)
		if err := errors.Join(ctx.Err(), err); err != nil {
			return fmt.Errorf("%s: %w\n%s", d.name, err, s.around(load.Now()))
		}
		if done {
			s.counts[d.name]++
		}
		time.Sleep(s.upTo(maxBetween))
	}
	return nil
}

// upTo draws a time.
func (s *storm) upTo(longest time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(longest)))
}

func (s *storm) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeline = append(s.timeline, moment{load.Now(), time.Now(), fmt.Sprintf(format, args...)})
}

// around tells what happened about that time.
func (s *storm) around(at time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, m := range s.timeline {
		if m.at > at-nearby && m.at < at+nearby/3 {
			lines = append(lines, fmt.Sprintf("  %+.3f s (%s): %s", (m.at-at).Seconds(), m.wall.Format("04:05.000"), m.text))
		}
	}
	return strings.Join(lines, "\n")
}

// choose sends a signal to one of the workers that live and fail not yet. It returns 0 when there are too few.
func (s *storm) choose(ctx context.Context, what string, signal unix.Signal) (pid int, over func(), err error) {
	ready, status, err := s.ready(ctx)
	failing := s.victims.failing()
	workers := slices.DeleteFunc(status.Nodes, func(n control.NodeStatus) bool {
		return n.Master || n.PID == 0 || slices.Contains(failing, n.PID)
	})
	serving := slices.DeleteFunc(ready, func(n control.NodeStatus) bool { return slices.Contains(failing, n.PID) })
	if err != nil || len(serving) < 2 || len(failing) >= atOnce {
		return 0, nil, err
	}
	n := workers[s.random.IntN(len(workers))]
	s.tell("%v to node %d in slot %d, pid %d, which is %s", signal, n.ID, n.Slot, n.PID, n.State)
	over = s.victims.add(what, n.PID)
	send(n.PID, signal)
	return n.PID, over, nil
}

func (s *storm) killWorker(ctx context.Context) (bool, error) {
	pid, over, err := s.choose(ctx, killed, unix.SIGKILL)
	if err != nil || pid == 0 {
		return false, err
	}
	if !awaitGone(pid, patience) {
		return false, fmt.Errorf("process %d does not go", pid)
	}
	over()
	return true, nil
}

// killMaster kills the master, and starts a new one that adopts the workers.
func (s *storm) killMaster(context.Context) (bool, error) {
	s.tell("SIGKILL to the master, pid %d", s.PID())
	s.killMasterFor(s.upTo(time.Second))
	err := s.fault(s.startMaster)
	s.tell("a new master, pid %d, is ready: %v", s.PID(), err)
	return true, err
}

// stopWorker stops a worker, for a moment or for good.
func (s *storm) stopWorker(ctx context.Context) (bool, error) {
	moment, after := s.random.IntN(2) == 0, s.upTo(3*time.Second)
	pid, over, err := s.choose(ctx, stopped, unix.SIGSTOP)
	if err != nil || pid == 0 {
		return false, err
	}
	s.running.Go(func() { // ends when the worker is gone, or after the time that it may take
		defer over()
		if moment && !awaitGone(pid, after) {
			send(pid, unix.SIGCONT)
			s.tell("SIGCONT to pid %d", pid)
			return
		}
		if !awaitGone(pid, patience) {
			s.tell("pid %d was stopped and nobody has replaced it", pid)
			send(pid, unix.SIGKILL)
		}
	})
	return true, nil
}

func (s *storm) reload(ctx context.Context) (bool, error) {
	return s.order(ctx, "reload", func(ctx context.Context) error { return s.Reload(ctx, control.Wait) }), nil
}

func (s *storm) scale(ctx context.Context) (bool, error) {
	nodes := fewest + s.random.IntN(most-fewest+1)
	return s.order(ctx, fmt.Sprint("scale ", nodes), func(ctx context.Context) error { return s.Scale(ctx, nodes, control.Wait) }), nil
}

func (s *storm) drain(ctx context.Context) (bool, error) {
	status, err := s.Status(ctx)
	workers := slices.DeleteFunc(status.Nodes, func(n control.NodeStatus) bool { return n.Master || n.PID == 0 })
	if err != nil || len(workers) == 0 {
		return false, err
	}
	id := workers[s.random.IntN(len(workers))].ID
	return s.order(ctx, fmt.Sprint("drain ", id), func(ctx context.Context) error { return s.Drain(ctx, id, control.Wait) }), nil
}

// order gives an order and does not wait for it: it may fail, as whom it needs may die.
func (s *storm) order(ctx context.Context, name string, give func(context.Context) error) bool {
	select {
	case s.orders <- struct{}{}:
	default:
		return false
	}
	s.tell("%s", name)
	s.running.Go(func() { // ends with the order, or with its master
		defer func() { <-s.orders }()
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := give(ctx)
		s.tell("%s: %v", name, err)
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refused++
		}
	})
	return true
}

// stranger lets somebody else listen on the port for a moment.
func (s *storm) stranger(context.Context) (bool, error) {
	p, err := child.Run(strangerRole, serve{Addr: s.addr, Ledger: s.serve.Ledger})
	if err != nil {
		return false, err
	}
	over := s.victims.add(foreign, p.PID())
	if _, err := p.Line(0, saidReady); err != nil {
		return false, errors.Join(err, p.Stop(os.Kill))
	}
	s.tell("a stranger, pid %d, listens", p.PID())
	stays := s.upTo(3 * time.Second)
	s.running.Go(func() { // ends after that time
		time.Sleep(stays)
		err := p.Stop(nil)
		over()
		s.tell("the stranger, pid %d, has left: %v", p.PID(), err)
	})
	return true, nil
}

// judge sorts what was lost by cause.
func (s *storm) judge(r *report) {
	r.row("what happened", "times")
	for _, d := range deeds {
		r.row(d.name, s.counts[d.name])
	}
	if s.faults.TotalCount() > 0 {
		r.note("a new master was ready after %s to %s ms; %d orders failed, as whom they needed was killed",
			ms(s.faults.Quantile(0)), ms(s.faults.Quantile(100)), s.refused)
	}
	for _, t := range s.results {
		s.victims.slack = max(s.victims.slack, 4*t.Quantile(99))
	}
	causes := make(map[string]int)
	for i, name := range []string{"a connection each", "keep-alive", "keep-alive, with pauses"} {
		t := s.results[i]
		r.note("%s: %d requests on %d connections, %d failed (%s), %d late, p99 %s ms, max %s ms", name, sent(t), t.Connections,
			t.Failures(), kinds(t), late(t), ms(t.Quantile(99)), ms(t.Quantile(100)))
		r.expect(t.Failures() == int64(len(t.Lost)), "more failures than can be explained one by one")
		for _, f := range t.Lost {
			cause := s.victims.cause(f)
			if cause == "" {
				cause = "UNEXPLAINED"
				r.expect(false, "%s: a request failed for no reason: %s, accepted by pid %d, connected %v, begun %v before:\n%s", name,
					f.Error, f.PID, f.Local != "", f.Failed-f.Begun, s.around(f.Failed))
			}
			causes[cause]++
		}
	}
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		r.row("lost: "+cause, causes[cause])
	}
}
