// Package simulation runs whole clusters in one process, without a socket and without a process: the rules, the supervisor, the
// control streams and the steering are those of a cluster; the kernel, the processes and the wires are fakes, in virtual time.
package simulation

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/masterlink"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/steering/steeringtest"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/peer"
)

const nodes = 3

// port is the one that all nodes share.
var port = portgroup.Key{Network: "tcp", Address: "127.0.0.1:80"}

// machine is where a cluster runs.
type machine struct {
	t       *testing.T
	seed    uint64
	kernel  *steeringtest.Kernel
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	random  *rand.Rand
	lastID  int
	lastPID int             // of a successor
	kills   int             // of workers and masters
	owner   *master         // that has the lock; nil: nobody
	current *master         // whom the user asks
	workers map[int]*worker // that live, by id
	masters []*master       // that workers link with
}

func newMachine(t *testing.T, seed uint64) *machine {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	return &machine{
		t: t, seed: seed, random: random, workers: make(map[int]*worker),
		kernel: steeringtest.NewKernel(rand.New(rand.NewPCG(seed, 2)), time.Duration(random.IntN(10))*time.Millisecond, float64(random.IntN(3))/30),
	}
}

// below returns a random time below limit.
func (m *machine) below(limit time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.random.Int64N(int64(limit)))
}

func (m *machine) nextID() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastID++
	return m.lastID, nil
}

// alive returns the workers that live, by id.
func (m *machine) alive() []*worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.workers), func(a, b *worker) int { return a.role.ID - b.role.ID })
}

// worker is the process of a worker.
type worker struct {
	*steeringtest.Process
	machine *machine
	role    boot.Role
	client  *masterlink.Client
	told    chan struct{} // closed when it is told to stop
	toldOne sync.Once
	dead    chan struct{}
	exit    proc.Exit // readable after dead
	streams []stream  // guarded by mu of machine
}

// start is that of a [supervise.Config].
func (m *machine) start(r boot.Role) (*proc.Process, error) {
	w := &worker{Process: m.kernel.Start(1000 + r.ID), machine: m, role: r, told: make(chan struct{}), dead: make(chan struct{})}
	w.client = masterlink.New(masterlink.Config{Listeners: w, Cut: func(peer.Info, string) {}, Stop: func(protocol.Stop) { w.stop() }})
	m.mu.Lock()
	m.workers[r.ID] = w
	masters := slices.Clone(m.masters)
	m.mu.Unlock()
	m.running.Go(w.live)
	for _, one := range masters {
		one.link(w)
	}
	return m.process(w), nil
}

// process returns what a master has of a worker.
func (m *machine) process(w *worker) *proc.Process {
	exited := make(chan proc.Exit, 1)
	m.running.Go(func() {
		<-w.dead
		time.Sleep(m.below(5 * time.Millisecond))
		exited <- w.exit
	})
	return &proc.Process{PID: w.PID, Exited: exited, Signal: func(s os.Signal) error {
		switch s {
		case syscall.SIGTERM:
			w.stop()
		case syscall.SIGKILL, syscall.SIGQUIT:
			w.machine.running.Go(func() { w.end(proc.Exit{Signal: s.(syscall.Signal)}) })
		}
		return nil
	}}
}

// adopt is that of a [supervise.Config].
func (m *machine) adopt(info peer.Info) (*proc.Process, error) {
	m.mu.Lock()
	w := m.workers[info.ID]
	m.mu.Unlock()
	if w == nil {
		return nil, os.ErrProcessDone
	}
	return m.process(w), nil
}

func (w *worker) info() peer.Info {
	info := w.role.Info()
	info.PID = w.PID
	return info
}

// Infos is that of [masterlink.Listeners].
func (w *worker) Infos() []protocol.Listener {
	inode, kept := w.Listener(port)
	if inode == 0 {
		return nil
	}
	return []protocol.Listener{{Port: port, Address: port.Address, Inode: inode, Snapshot: kept}}
}

// Probe answers always: who does not is ended.
func (w *worker) Probe(context.Context) (load portgroup.Load, err error) {
	time.Sleep(w.machine.below(20 * time.Millisecond))
	return load, nil
}

func (w *worker) stop() { w.toldOne.Do(func() { close(w.told) }) }

// live is what a worker does, until it ends.
func (w *worker) live() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.machine.running.Go(func() { // ends with ctx
		select {
		case <-w.dead:
			cancel()
		case <-ctx.Done():
		}
	})
	time.Sleep(w.machine.below(50 * time.Millisecond))
	for { // as long as there is no master, or messages are lost
		asking, stop := context.WithTimeout(ctx, 500*time.Millisecond)
		err := w.client.Join(asking, port)
		stop()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() == nil {
		w.client.MarkReady()
	}
	select {
	case <-w.told:
		w.leave(ctx)
	case <-w.dead:
	}
}

// leave leaves the group as a node does.
func (w *worker) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for again := true; again && ctx.Err() == nil; {
		kills := w.machine.killed()
		epoch, later, err := w.client.Exclude(ctx, port)
		if err == nil && later {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		before := w.Accepted()
		time.Sleep(10 * time.Millisecond) // what is under way comes
		if err == nil {
			again, err = w.client.Leave(ctx, port, epoch)
		}
		if again = err == nil && again; !again && err == nil && epoch != 0 && w.machine.killed() == kills { // a death moves another one to its index
			assert.Equal(w.machine.t, before, w.Accepted(), "seed %d: node %d has got connections since it was excluded", w.machine.seed, w.role.ID)
		}
	}
	w.client.Tell(func(m protocol.Master) error { return m.Drained(protocol.Drained{Took: time.Millisecond}) })
	w.end(proc.Exit{})
}

// end ends the process.
func (w *worker) end(e proc.Exit) {
	m := w.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	if closed.Is(w.dead) {
		return
	}
	delete(m.workers, w.role.ID)
	w.exit = e
	close(w.dead)
	w.Kill()
	w.client.Close()
	for _, s := range w.streams {
		_ = s.Close()
	}
}

// add takes note of a stream, unless the process has ended.
func (w *worker) add(s stream) bool {
	w.machine.mu.Lock()
	defer w.machine.mu.Unlock()
	w.streams = append(w.streams, s)
	return !closed.Is(w.dead)
}

// require ends the test with an error that cannot be.
func (m *machine) require(err error) {
	if err != nil {
		panic(err)
	}
}

func (m *machine) killed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kills
}

// kill kills a worker that serves, unless it is the last one.
func (m *machine) kill() {
	serving := slices.DeleteFunc(m.alive(), func(w *worker) bool { return len(w.Infos()) == 0 || closed.Is(w.told) })
	if len(serving) < 2 {
		return
	}
	m.mu.Lock()
	m.kills++
	w := serving[m.random.IntN(len(serving))]
	m.mu.Unlock()
	w.end(proc.Exit{Signal: syscall.SIGKILL})
}

// killMaster kills the master, whom another one follows some time later.
func (m *machine) killMaster() {
	m.mu.Lock()
	x := m.current
	m.kills++
	m.mu.Unlock()
	x.leave()
	m.free(x)
	time.Sleep(m.below(time.Second))
	m.setCurrent(m.startMaster(1, false))
}

// order gives an order. Errors are allowed for: others are on their way.
func (m *machine) order(o lifecycle.Order) {
	m.mu.Lock()
	x := m.current
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = x.supervisor.CarryOut(ctx, o)
}

// serve lets clients connect until the context ends. There is always somebody.
func (m *machine) serve(ctx context.Context) {
	for ctx.Err() == nil {
		if m.kernel.Dial(port.Address) == nil {
			m.t.Errorf("seed %d: a connection is refused", m.seed)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// isAtRest reports whether each slot has one worker, which gets connections, and nobody else lives.
func (m *machine) isAtRest() bool {
	m.mu.Lock()
	x := m.current
	m.mu.Unlock()
	state, ok := x.supervisor.State()
	if !ok || state.Doing != "" || len(state.Workers) != state.Slots {
		return false
	}
	var ids []int
	for _, w := range state.Workers {
		if w.State != control.StateReady {
			return false
		}
		ids = append(ids, w.ID)
	}
	slices.Sort(ids)
	status, weights := x.steering.Status(port)
	maps.DeleteFunc(weights, func(_ int, weight float64) bool { return weight == 0 })
	return status.Known && slices.Equal(slices.Sorted(maps.Keys(weights)), ids) && len(m.alive()) == len(ids)
}

// await waits until the cluster has been at rest for longer than a look takes, which makes good what was lost before it.
func (m *machine) await() {
	for polls, right := 0, 0; right < 30; polls++ {
		require.Less(m.t, polls, 3000, "seed %d: it does not come to rest", m.seed)
		time.Sleep(200 * time.Millisecond)
		if right++; !m.isAtRest() {
			right = 0
		}
	}
}

// TestCluster lets a cluster live through reloads, scaling, deaths of workers and masters, and takeovers, with messages that are late
// or lost. The seeds are spread over the CPUs.
func TestCluster(t *testing.T) {
	cpus := runtime.GOMAXPROCS(0)
	for cpu := range cpus {
		t.Run(strconv.Itoa(cpu), func(t *testing.T) {
			t.Parallel()
			for seed := cpu; seed < seeds && !t.Failed(); seed += cpus {
				synctest.Test(t, func(t *testing.T) { live(t, uint64(seed)) })
			}
		})
	}
}

// live is the life of one cluster.
func live(t *testing.T, seed uint64) {
	t.Helper()
	m := newMachine(t, seed)
	m.setCurrent(m.startMaster(1, false))
	m.await()
	ctx, stop := context.WithCancel(t.Context())
	m.running.Go(func() { m.serve(ctx) }) // ends with ctx
	for range 4 {
		switch m.below(6) {
		case 0:
			m.order(lifecycle.Order{Kind: lifecycle.Reload, Name: "reload"})
		case 1:
			m.order(lifecycle.Order{Kind: lifecycle.Scale, Name: "scale", Count: 2 + int(m.below(3))})
		case 2:
			m.kill()
		case 3:
			m.killMaster()
		default:
			m.order(lifecycle.Order{Kind: lifecycle.Takeover, Name: "takeover"})
		}
		time.Sleep(m.below(time.Second))
	}
	m.await()
	stop()
	got := make(map[int]int)
	for range 60 {
		got[m.kernel.Dial(port.Address).PID]++
	}
	assert.Len(t, got, len(m.alive()), "seed %d: %v", seed, got)
	m.current.stop()
	assert.Empty(t, m.alive(), "seed %d: who lives after the stop", seed)
	m.running.Wait()
}
