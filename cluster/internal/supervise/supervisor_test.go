package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
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
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/peer"
)

// fakes stands for the operating system: processes that live until the test or a signal ends them.
type fakes struct {
	deaf []os.Signal // that end no process
	err  error       // of all starts

	mu      sync.Mutex  // guards what follows
	roles   []boot.Role // in the order of their starts
	exits   map[int]chan proc.Exit
	signals map[int][]os.Signal
}

func newFakes() *fakes {
	return &fakes{exits: make(map[int]chan proc.Exit), signals: make(map[int][]os.Signal)}
}

func (f *fakes) start(r boot.Role) (*proc.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.roles = append(f.roles, r)
	return f.processLocked(r.ID, proc.Continue)
}

// firstPID is the process id of the worker with the id 0, if there were one. No process has it, nor one after it
// (PID_MAX_LIMIT): of those there are, the kernel tells how long they wait for a CPU.
const firstPID = 1 << 30

// adopt finds the process that has been running before.
func (f *fakes) adopt(info peer.Info) (*proc.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.processLocked(info.PID-firstPID, proc.Continue)
}

// processLocked makes the process of a worker, which ends with any signal but those in f.deaf and harmless.
func (f *fakes) processLocked(id int, harmless os.Signal) (*proc.Process, error) {
	if f.err != nil {
		return nil, f.err
	}
	exited := make(chan proc.Exit, 1)
	f.exits[id] = exited
	return &proc.Process{PID: firstPID + id, Exited: exited, Signal: func(sig os.Signal) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.signals[id] = append(f.signals[id], sig)
		if sig != harmless && !slices.Contains(f.deaf, sig) {
			select {
			case exited <- proc.Exit{Signal: sig.(syscall.Signal)}:
			default: // it is dead
			}
		}
		return nil
	}}, nil
}

// started returns the roles of all processes that were started.
func (f *fakes) started() []boot.Role {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.roles)
}

// sent returns the signals that a process got.
func (f *fakes) sent(id int) []os.Signal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.signals[id])
}

// exit ends a process.
func (f *fakes) exit(id int, e proc.Exit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exits[id] <- e
}

// awaitStart lets time pass until another process is started or s has ended.
func (f *fakes) awaitStart(s *Supervisor, before int) {
	for synctest.Wait(); len(f.started()) == before && !closed.Is(s.done); synctest.Wait() {
		time.Sleep(10 * time.Millisecond)
	}
}

// supervise runs a supervisor, in a bubble of its own time, until the end of the test.
func supervise(t *testing.T, rules lifecycle.Config) (*Supervisor, *fakes) {
	t.Helper()
	f := newFakes()
	s := f.supervisor(t, rules)
	go s.Run()
	t.Cleanup(func() {
		s.send(lifecycle.Cut{})
		<-s.done
	})
	s.send(lifecycle.Fill{})
	synctest.Wait()
	return s, f
}

// supervisor returns a supervisor that does not run yet, without a port.
func (f *fakes) supervisor(t *testing.T, rules lifecycle.Config) *Supervisor {
	t.Helper()
	logger, tell := slog.New(slog.DiscardHandler), func(control.Event) {}
	steering, err := steering.New(steering.Config{Force: "hash", Logger: logger, Tell: tell})
	require.NoError(t, err)
	rules.BootTimeout = cmp.Or(rules.BootTimeout, time.Minute)
	rules.StopTimeout = 30 * time.Second
	rules.LivenessTimeout = cmp.Or(rules.LivenessTimeout, 1000*time.Hour) // those that are not linked do not answer
	last := 0
	s := New(Config{
		Rules: rules, Role: boot.Role{Cluster: "test"}, Start: f.start, Adopt: f.adopt, Steering: steering, Tell: tell, Logger: logger,
		NextID: func() (int, error) { last++; return last, nil },
		Room:   func(int) error { return nil },
	})
	s.loop.master = lonely{}
	return s
}

// lonely is the node of a master that does not serve.
type lonely struct{ Master }

func (lonely) LeavePorts(left func()) { go left() }
func (lonely) Reloading(bool, int)    {}
func (lonely) Scaled(int)             {}

// ready makes the worker with the id ready.
func (s *Supervisor) ready(id int) {
	s.send(lifecycle.Ready{ID: lifecycle.ID(id)})
	synctest.Wait()
}

func TestSupervisorFillsItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 3})
		require.Len(t, f.started(), 3, "the master is the fourth")
		for i, r := range f.started() {
			assert.Equal(t, i+1, r.ID)
			assert.Equal(t, i+1, r.Slot)
			assert.Equal(t, 1, r.Generation)
			assert.Equal(t, "test", r.Cluster)
		}
		s.ready(1)
		s.ready(3)
		assert.False(t, closed.Is(s.allReady))
		s.ready(2)
		assert.True(t, closed.Is(s.allReady))
	})
}

func TestSupervisorWithoutWorkersIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 0})
		assert.Empty(t, f.started())
		assert.True(t, closed.Is(s.allReady))
		time.Sleep(time.Hour)
		assert.False(t, closed.Is(s.done))
	})
}

func TestSupervisorReplacesAtOnceAfterReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		begin := time.Now()
		f.exit(1, proc.Exit{Signal: syscall.SIGKILL})
		synctest.Wait()
		require.Len(t, f.started(), 2)
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, 2, f.started()[1].ID)
		assert.Equal(t, 1, f.started()[1].Slot)
		assert.Equal(t, 2, f.started()[1].Generation)
		assert.NotEqual(t, f.started()[0].Incarnation, f.started()[1].Incarnation)
	})
}

func TestSupervisorGivesUpWhenNobodyEverBecameReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		begin := time.Now()
		for id := 1; !closed.Is(s.done); id++ {
			f.exit(id, proc.Exit{Code: 3, LastWords: "no licence"})
			f.awaitStart(s, id)
		}
		assert.Len(t, f.started(), 5)
		assert.Less(t, time.Since(begin), 5*time.Second)
		var died *control.WorkerError
		require.ErrorAs(t, s.err, &died)
		assert.Equal(t, "exit code 3", died.Reason)
		assert.Equal(t, "no licence", died.LastWords)
		assert.False(t, died.Ready)
	})
}

func TestSupervisorKeepsACrashLoopingSlotWhenAnotherServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 2})
		s.ready(2)
		id := 1
		for range 20 {
			f.exit(id, proc.Exit{Code: 1})
			before := len(f.started())
			f.awaitStart(s, before)
			id = f.started()[before].ID
			assert.Equal(t, 1, f.started()[before].Slot)
		}
		assert.False(t, closed.Is(s.done))
		last := time.Now()
		f.exit(id, proc.Exit{Code: 1})
		f.awaitStart(s, len(f.started()))
		assert.InDelta(t, 10*time.Second, time.Since(last), float64(2*time.Second+100*time.Millisecond))
	})
}

func TestSupervisorStartThatFailsIsAFailureToBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.err = errors.New("no process can be started")
		s := f.supervisor(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.loop.tell(lifecycle.Fill{})
		s.Run()
		assert.Len(t, f.started(), 5)
		assert.ErrorContains(t, s.err, "no process can be started")
	})
}

func TestSupervisorStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 3})
		s.ready(1)
		near, far := net.Pipe()
		defer far.Close()
		known := false
		s.send(linked{info: f.started()[0].Info(), link: protocol.NewWorker(near), known: &known})
		require.True(t, known)
		order := make(chan protocol.Stop, 1)
		go protocol.NewMaster(far).Serve(nil, func(s protocol.Stop) { order <- s }) // ends with far
		go s.send(lifecycle.Stop{Timeout: time.Minute})                             // ends when the order is read
		assert.Equal(t, protocol.Stop{Timeout: time.Minute, All: true}, <-order, "over the link")
		synctest.Wait()
		assert.Empty(t, f.sent(1))
		assert.Equal(t, []os.Signal{syscall.SIGTERM}, f.sent(2), "by signal while there is none")
		f.exit(1, proc.Exit{})
		<-s.done
		require.NoError(t, s.err)
		assert.Len(t, f.started(), 3, "no worker is replaced")
	})
}

// TestSupervisorFillsNoSlotWhenTheNodeEnds: an interrupt reaches workers as well, and until they are all told to stop the master has
// to leave the ports, which may take a while.
func TestSupervisorFillsNoSlotWhenTheNodeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 3})
		ending := make(chan struct{})
		s.send(belongs{lonely{}, ending})
		for id := 1; id <= 3; id++ {
			s.ready(id)
			f.exit(id, proc.Exit{})
		}
		time.Sleep(100*time.Millisecond - time.Nanosecond)
		close(ending)
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 3, "none is replaced")
		s.send(lifecycle.Stop{Timeout: time.Minute})
		<-s.done
		assert.NoError(t, s.err)
	})
}

func TestSupervisorStopOfTheStubborn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		f.deaf = []os.Signal{syscall.SIGTERM, syscall.SIGQUIT}
		begin := time.Now()
		s.send(lifecycle.Stop{Timeout: time.Second})
		<-s.done
		assert.Equal(t, time.Second+time.Second+2*time.Second, time.Since(begin))
		assert.Equal(t, []os.Signal{syscall.SIGTERM, syscall.SIGQUIT, proc.Continue, os.Kill}, f.sent(1))
		assert.ErrorContains(t, s.err, fmt.Sprintf("worker 1 (slot 1, pid %d) did not leave in time and was killed", firstPID+1))
	})
}

func TestSupervisorCutsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 2})
		f.deaf = []os.Signal{syscall.SIGTERM}
		begin := time.Now()
		s.send(lifecycle.Stop{Timeout: time.Hour})
		s.send(lifecycle.Cut{})
		<-s.done
		assert.Zero(t, time.Since(begin))
		assert.True(t, slices.Contains(f.sent(1), os.Kill))
		assert.True(t, slices.Contains(f.sent(2), os.Kill))
	})
}

func TestSupervisorKnowsItsWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		for name, change := range map[string]func(*boot.Role){
			"another incarnation": func(r *boot.Role) { r.Incarnation++ },
			"another id":          func(r *boot.Role) { r.ID = 99 },
		} {
			r := f.started()[0]
			change(&r)
			known := true
			s.send(linked{info: r.Info(), known: &known})
			assert.False(t, known, name)
		}
	})
}

func TestSupervisorDisableRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 2, DisableRestart: true})
		s.ready(1)
		f.exit(1, proc.Exit{})
		f.exit(2, proc.Exit{})
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 2)
		assert.False(t, closed.Is(s.done), "the master still serves")
	})
}
