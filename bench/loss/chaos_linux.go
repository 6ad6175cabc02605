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
	adopted  []time.Duration
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
	calm       = 60 * time.Second // that it may take until all is well again, where time is judged
	nearby     = 3 * time.Second  // what is told around a loss
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
	loads := []load{
		{Clients: c.Clients / 2, Ledger: book.Name()},
		{Clients: c.Clients / 2, Ledger: book.Name(), KeepAlive: true},
		{Clients: c.Clients, Ledger: book.Name(), KeepAlive: true, Think: 200 * time.Millisecond},
	}
	tallies, err := under(loads, addrs(s.addr), func() error { return s.rage(ctx, c.Duration) })
	if err != nil {
		return nil, err
	}
	r := &report{Title: fmt.Sprintf("Chaos for %v, seed %d", c.Duration, c.Seed)}
	s.judge(r, tallies)
	if err := s.judgePeace(ctx, r, before); err != nil {
		return nil, err
	}
	ended = true
	if len(r.Broken) > 0 {
		if log, err := os.ReadFile(s.serve.Log); err == nil {
			fmt.Fprintf(os.Stderr, "the log of the nodes:\n%s\n", log)
		}
	}
	pids := s.seen()
	if err := s.end(); err != nil {
		r.expect(false, "the end: %v", err)
	}
	for _, pid := range pids {
		r.expect(awaitGone(pid, patience), "process %d is left over", pid)
	}
	return r, nil
}

// under runs loads while f runs, and returns what came of each.
func under(loads []load, addrs []string, f func() error) (tallies []tally, err error) {
	var all []*runner
	for _, l := range loads {
		l.Addrs = addrs
		r, startErr := l.start()
		if startErr != nil {
			err = startErr
			break
		}
		all = append(all, r)
		err = errors.Join(err, r.await(anyAnswer))
	}
	if err == nil {
		err = f()
	}
	for _, r := range all {
		t, finishErr := r.finish()
		tallies, err = append(tallies, t), errors.Join(err, finishErr)
	}
	return tallies, err
}

// rage lets the storm go on for so long, and waits until nothing of it goes on.
func (s *storm) rage(ctx context.Context, duration time.Duration) error {
	s.begin = now()
	var bag []deed
	for _, d := range deeds() {
		bag = append(bag, slices.Repeat([]deed{d}, d.weight)...)
	}
	defer s.running.Wait()
	for now()-s.begin < duration {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d := bag[s.random.IntN(len(bag))]
		done, err := d.do(s, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", d.name, err, s.around(now()))
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
	s.timeline = append(s.timeline, moment{now(), time.Now(), fmt.Sprintf(format, args...)})
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
		if n.State == control.StateReady && n.Accepts {
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
	s.Kill()
	<-s.Ended()
	wait := time.Duration(s.random.Int64N(int64(time.Second)))
	time.Sleep(wait)
	begin := now()
	if err := s.startMaster(); err != nil {
		return false, err
	}
	s.adopted = append(s.adopted, now()-begin)
	s.tell("a new master, pid %d, ready after %v", s.PID(), now()-begin)
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
	if _, err := p.Line(0, "ready "); err != nil {
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
func (s *storm) judge(r *report, tallies []tally) {
	r.row("what happened", "times")
	for _, d := range deeds() {
		r.row(d.name, fmt.Sprint(s.counts[d.name]))
	}
	if len(s.adopted) > 0 {
		r.note("a new master was ready after %s to %s ms; %d orders failed, as whom they needed was killed",
			ms(slices.Min(s.adopted)), ms(slices.Max(s.adopted)), s.refused)
	}
	for _, t := range tallies {
		s.victims.slack = max(s.victims.slack, 4*t.P99)
	}
	causes := make(map[string]int)
	for i, name := range []string{"a connection each", "keep-alive", "keep-alive, with pauses"} {
		t := tallies[i]
		r.note("%s: %d requests on %d connections, %d failed (%s), %d late, p99 %s ms, max %s ms", name, t.Requests, t.Connections,
			t.failures(), t.kinds(), t.Late, ms(t.P99), ms(t.Max))
		r.expect(t.failures() == int64(len(t.Failed)), "more failures than can be explained one by one")
		for _, f := range t.Failed {
			cause := s.victims.cause(f)
			if cause == "" {
				cause = "UNEXPLAINED"
				r.expect(false, "%s: a request failed for no reason: %s, accepted by pid %d, connected %v, begun %v before:\n%s", name,
					f.Error, f.PID, f.Local != "", f.End-f.Start, s.around(f.End))
			}
			causes[cause]++
		}
	}
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		r.row("lost: "+cause, fmt.Sprint(causes[cause]))
	}
}

// inventory is what a cluster that is at peace has.
type inventory struct {
	status      control.Status
	pids        []int       // of the workers
	descriptors map[int]int // by pid; 0: the master
	goroutines  map[int]int
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
	var why string
	for end := time.Now().Add(s.calm()); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if i.status, err = s.Status(ctx); err != nil {
			return i, err
		}
		if why = unrest(i.status); why == "" {
			break
		}
	}
	if why != "" {
		return i, fmt.Errorf("after %v: %s", s.calm(), why)
	}
	i.descriptors, i.goroutines = make(map[int]int), make(map[int]int)
	for _, n := range i.status.Nodes {
		key := n.PID
		if n.Master {
			key = 0
		} else {
			i.pids = append(i.pids, n.PID)
		}
		open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.PID))
		if err != nil {
			return i, err
		}
		i.descriptors[key] = len(open)
		if i.goroutines[key], err = goroutinesOf(s.dir, n.PID); err != nil {
			return i, err
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
		if n.State != control.StateReady || !n.Accepts {
			return fmt.Sprintf("node %d (pid %d) is %s, accepts %t", n.ID, n.PID, n.State, n.Accepts)
		}
		ready++
	}
	steered := s.Steering.Rung != "hash" && s.Steering.Rung != "incoming-cpu"
	switch {
	case ready != s.Wanted:
		return fmt.Sprintf("%d of %d nodes are ready", ready, s.Wanted)
	case s.Doing != "":
		return "it is busy with " + s.Doing
	case len(s.Steering.Strangers) > 0:
		return fmt.Sprintf("strangers: %v", s.Steering.Strangers)
	case steered && !s.Steering.Picture:
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
	begin := now()
	after, err := s.inventory(ctx)
	if err != nil {
		r.expect(false, "there is no peace: %v", err)
		return nil
	}
	r.note("at peace %s ms after the last order: picture certain, weights equal", ms(now()-begin))
	s.judgeShares(r, after)
	left := func() string { return after.beyond(before) }
	for end := time.Now().Add(s.calm() / 2); left() != "" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if after, err = s.inventory(ctx); err != nil {
			return err
		}
	}
	r.expect(left() == "", "%s", left())
	r.note("descriptors of the master %d, before %d; goroutines %d, before %d", after.descriptors[0], before.descriptors[0],
		after.goroutines[0], before.goroutines[0])
	return nil
}

// slack is for what comes and goes by itself.
const slack = 3

// beyond tells who has more than all had before.
func (i inventory) beyond(before inventory) string {
	var words []string
	most := func(m map[int]int, pid int) int {
		if pid == 0 {
			return m[0]
		}
		highest := 0
		for key, n := range m {
			if key != 0 {
				highest = max(highest, n)
			}
		}
		return highest
	}
	for pid := range i.descriptors {
		if n, limit := i.descriptors[pid], most(before.descriptors, pid)+slack; n > limit {
			words = append(words, fmt.Sprintf("pid %d has %d descriptors, at most %d were expected", pid, n, limit))
		}
		if n, limit := i.goroutines[pid], most(before.goroutines, pid)+slack; n > limit {
			words = append(words, fmt.Sprintf("pid %d has %d goroutines, at most %d were expected", pid, n, limit))
		}
	}
	return strings.Join(words, "; ")
}

// judgeShares asks the kernel by connections: each of the workers must get its share, and nobody else anything.
func (s *storm) judgeShares(r *report, at inventory) {
	const requests = 2000
	t, err := s.measureShares(requests)
	if err != nil {
		r.expect(false, "no shares to be had: %v", err)
		return
	}
	var shares []string
	for pid, n := range t.ByPID {
		share := float64(n) / float64(t.Requests)
		shares = append(shares, fmt.Sprintf("%.1f %%", 100*share))
		r.expect(slices.Contains(at.pids, pid), "pid %d answers and is no node", pid)
		r.expect(share > 0.8/nodes && share < 1.2/nodes, "pid %d has got %.1f %% of the connections", pid, 100*share)
	}
	r.expect(len(t.ByPID) == nodes, "%d of %d nodes have answered", len(t.ByPID), nodes)
	r.expect(t.failures() == 0, "%d failed after the storm: %s", t.failures(), t.describe())
	r.note("shares of %d connections after the storm: %s", t.Connections, strings.Join(shares, ", "))
}

// measureShares loads the cluster with so many requests at least.
func (s *storm) measureShares(requests int64) (tally, error) {
	load, err := here().load(load{Clients: 4}, s.addr)
	if err != nil {
		return tally{}, err
	}
	err = load.await(func(t tally) bool { return t.Requests >= requests })
	t, finishErr := load.finish()
	return t, errors.Join(err, finishErr)
}

// seen returns the processes of the cluster.
func (s *storm) seen() (pids []int) {
	lists, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, list := range lists {
		environ, err := os.ReadFile(list)
		var pid int
		if err != nil || !strings.Contains(string(environ), s.dir) {
			continue
		}
		if _, err := fmt.Sscanf(list, "/proc/%d/", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
