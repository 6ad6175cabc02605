package loss

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

// storm is random trouble. One goroutine chooses and kills; what takes time goes on beside it: orders to the cluster,
// processes that are stopped, and strangers.
type storm struct {
	*server
	untimed bool
	random  *rand.Rand
	victims victims
	begin   time.Duration
	counts  map[string]int
	running sync.WaitGroup // of all that goes on
	orders  chan struct{}  // holds a value for each order that runs

	mu       sync.Mutex
	timeline []moment // guarded by mu
	refused  int      // guarded by mu; orders that have failed
	adopted  times    // how long new masters took
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

func deeds() []deed {
	return []deed{
		{"kill -9 of a worker", 5, (*storm).killWorker},
		{"kill -9 of the master", 3, (*storm).killMaster},
		{"SIGSTOP of a worker", 2, (*storm).stopWorker},
		{"reload", 3, (*storm).reload},
		{"scale", 3, (*storm).scale},
		{"drain", 4, (*storm).drain},
		{"stranger", 2, (*storm).stranger},
	}
}

// proveChaos has a cluster live through a storm under load.
func proveChaos(ctx context.Context, c config) (_ *report, err error) {
	if err := checkMigration(); err != nil {
		return nil, err
	}
	book, err := os.CreateTemp("", "ledger")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, book.Close(), os.Remove(book.Name())) }()
	s := &storm{
		untimed: c.Untimed, random: rand.New(rand.NewPCG(c.Seed, 0)), counts: make(map[string]int),
		orders: make(chan struct{}, atOnce),
	}
	if s.server, err = startServer(serve{Addr: ":0", Nodes: nodes, Ledger: book.Name()}); err != nil {
		return nil, err
	}
	ended := false
	defer func() {
		if !ended {
			err = errors.Join(err, s.end())
		}
	}()
	before, err := s.inventory(ctx)
	if err != nil {
		return nil, err
	}
	strict := &load.Strict{Ledger: book.Name()}
	loads := []load.Plan{
		{Connections: c.Clients / 2, Strict: strict},
		{Connections: c.Clients / 2, Strict: strict, KeepAlive: true},
		{Connections: c.Clients, Strict: &load.Strict{Ledger: book.Name(), Think: 200 * time.Millisecond}, KeepAlive: true},
	}
	results, err := here().under(ctx, s.addr, loads, func(*load.Runner) error { return s.rage(ctx, c.Duration) })
	if err != nil {
		return nil, err
	}
	r := &report{Title: fmt.Sprintf("Chaos for %v, seed %d", c.Duration, c.Seed)}
	s.judge(r, results)
	if err := s.judgePeace(ctx, r, before); err != nil {
		return nil, err
	}
	ended = true
	if len(r.Broken) > 0 {
		if log, err := os.ReadFile(s.serve.Log); err == nil {
			fmt.Fprintf(os.Stderr, "the log of the nodes:\n%s\n", log)
		}
	}
	all := s.processes()
	if err := s.end(); err != nil {
		r.expect(false, "the end: %v", err)
	}
	for _, pid := range all {
		r.expect(awaitGone(pid, patience), "process %d is left over", pid)
	}
	return r, nil
}

// rage lets the storm go on for so long, and waits until nothing of it goes on.
func (s *storm) rage(ctx context.Context, duration time.Duration) error {
	s.begin = load.Now()
	var bag []deed
	for _, d := range deeds() {
		bag = append(bag, slices.Repeat([]deed{d}, d.weight)...)
	}
	defer s.running.Wait()
	for load.Now()-s.begin < duration {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d := bag[s.random.IntN(len(bag))]
		done, err := d.do(s, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", d.name, err, s.around(load.Now()))
		}
		if done {
			s.counts[d.name]++
		}
		time.Sleep(time.Duration(s.random.Int64N(int64(maxBetween))))
	}
	return nil
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

// choose returns one of the workers that live and fail not yet; none when there are too few.
func (s *storm) choose(ctx context.Context) (pid int, about string, err error) {
	status, err := s.Status(ctx)
	if err != nil {
		return 0, "", err
	}
	var all []control.NodeStatus
	serving := 0
	for _, n := range status.Nodes {
		if n.Master || n.PID == 0 || s.victims.open(n.PID) {
			continue
		}
		all = append(all, n)
		if isReady(n) {
			serving++
		}
	}
	if serving < 2 || s.victims.failing() >= atOnce {
		return 0, "", nil
	}
	n := all[s.random.IntN(len(all))]
	return n.PID, fmt.Sprintf("node %d in slot %d, pid %d, which is %s", n.ID, n.Slot, n.PID, n.State), nil
}

func (s *storm) killWorker(ctx context.Context) (bool, error) {
	pid, about, err := s.choose(ctx)
	if err != nil || pid == 0 {
		return false, err
	}
	s.tell("SIGKILL to %s", about)
	v := s.victims.add(killed, pid)
	send(pid, unix.SIGKILL)
	if !awaitGone(pid, patience) {
		return false, fmt.Errorf("process %d does not go", pid)
	}
	s.victims.over(v)
	return true, nil
}

// killMaster kills the master, and starts a new one that adopts the workers.
func (s *storm) killMaster(context.Context) (bool, error) {
	s.tell("SIGKILL to the master, pid %d", s.PID())
	took, err := s.replaceMaster(time.Duration(s.random.Int64N(int64(time.Second))))
	if err != nil {
		return false, err
	}
	s.adopted = append(s.adopted, took)
	s.tell("a new master, pid %d, ready after %v", s.PID(), took)
	return true, nil
}

// stopWorker stops a worker, for a moment or for good.
func (s *storm) stopWorker(ctx context.Context) (bool, error) {
	pid, about, err := s.choose(ctx)
	if err != nil || pid == 0 {
		return false, err
	}
	moment := s.random.IntN(2) == 0
	after := time.Duration(s.random.Int64N(int64(3 * time.Second)))
	s.tell("SIGSTOP to %s", about)
	v := s.victims.add(stopped, pid)
	send(pid, unix.SIGSTOP)
	s.running.Go(func() { // ends when the worker is gone, or after the time that it may take
		defer s.victims.over(v)
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
	return s.command(ctx, "reload", func(ctx context.Context) error { return s.Reload(ctx, control.Wait) }), nil
}

func (s *storm) scale(ctx context.Context) (bool, error) {
	nodes := fewest + s.random.IntN(most-fewest+1)
	return s.command(ctx, fmt.Sprint("scale ", nodes), func(ctx context.Context) error { return s.Scale(ctx, nodes, control.Wait) }), nil
}

func (s *storm) drain(ctx context.Context) (bool, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return false, err
	}
	var ids []int
	for _, n := range status.Nodes {
		if !n.Master && n.PID != 0 {
			ids = append(ids, n.ID)
		}
	}
	if len(ids) == 0 {
		return false, nil
	}
	id := ids[s.random.IntN(len(ids))]
	return s.command(ctx, fmt.Sprint("drain ", id), func(ctx context.Context) error { return s.Drain(ctx, id, control.Wait) }), nil
}

// command gives an order and does not wait for it: it may fail, as whom it needs may die.
func (s *storm) command(ctx context.Context, name string, order func(context.Context) error) bool {
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
		err := order(ctx)
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
	v := s.victims.add(foreign, p.PID())
	if _, err := p.Line(0, saidReady); err != nil {
		return false, errors.Join(err, p.Stop(os.Kill))
	}
	s.tell("a stranger, pid %d, listens", p.PID())
	stays := time.Duration(s.random.Int64N(int64(3 * time.Second)))
	s.running.Go(func() { // ends after that time
		time.Sleep(stays)
		err := p.Stop(nil)
		s.victims.over(v)
		s.tell("the stranger, pid %d, has left: %v", p.PID(), err)
	})
	return true, nil
}

// judge sorts what was lost by cause.
func (s *storm) judge(r *report, results []load.Result) {
	r.row("what happened", "times")
	for _, d := range deeds() {
		r.row(d.name, s.counts[d.name])
	}
	if len(s.adopted) > 0 {
		r.note("a new master was ready after %s to %s ms; %d orders failed, as whom they needed was killed",
			ms(s.adopted.quantile(0)), ms(s.adopted.quantile(100)), s.refused)
	}
	for _, t := range results {
		s.victims.slack = max(s.victims.slack, 4*t.Quantile(99))
	}
	causes := make(map[string]int)
	for i, name := range []string{"a connection each", "keep-alive", "keep-alive, with pauses"} {
		t := results[i]
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

// processes returns those of the cluster.
func (s *storm) processes() []int {
	return proc.PIDs(proc.Find(func(stat procfs.ProcStat) bool {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", stat.PID))
		return err == nil && strings.Contains(string(environ), s.dir)
	}))
}
