package supervise

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/peer"
)

// inBackground calls f, which is to wait for something, and returns when it does.
func inBackground(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }() // ends with f
	synctest.Wait()
	return result
}

// serving returns the ids of the workers that serve, by slot.
func (s *Supervisor) serving() map[int]int {
	ids := make(map[int]int)
	state, _ := s.State()
	for _, n := range state.Workers {
		if n.State == control.StateReady {
			ids[n.Slot] = n.ID
		}
	}
	return ids
}

// renew replaces the worker that serves in a slot.
func (s *Supervisor) renew(ctx context.Context, slot int) error {
	return s.CarryOut(ctx, lifecycle.Order{Kind: lifecycle.Drain, Node: s.serving()[slot]})
}

// grow adds so many workers.
func (s *Supervisor) grow(ctx context.Context, more int) error {
	return s.CarryOut(ctx, lifecycle.Order{Kind: lifecycle.ScaleBy, Count: more})
}

// slots returns how many slots there are.
func (s *Supervisor) slots() int {
	state, _ := s.State()
	return state.Slots
}

// drained reports that the worker with the id has closed its listeners, and ends it.
func (s *Supervisor) drained(f *fakes, id int) {
	s.send(lifecycle.Drained{ID: lifecycle.ID(id)})
	synctest.Wait()
	f.exit(id, proc.Exit{})
	synctest.Wait()
}

func TestSupervisorRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		f.deaf = []os.Signal{syscall.SIGTERM}
		s.ready(1)
		renewed := inBackground(func() error { return s.renew(t.Context(), 1) })
		require.Len(t, f.started(), 2)
		assert.Equal(t, 2, f.started()[1].Generation)
		assert.Empty(t, f.sent(1), "it serves until its replacement is ready")
		assert.Equal(t, map[int]int{1: 1}, s.serving())
		s.ready(2)
		assert.Equal(t, []os.Signal{syscall.SIGTERM}, f.sent(1))
		assert.Equal(t, map[int]int{1: 2}, s.serving())
		select {
		case err := <-renewed:
			require.Fail(t, "the old one has still a listener", "%v", err)
		default:
		}
		s.drained(f, 1)
		require.NoError(t, <-renewed)
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 2, "no other worker is started")
	})
}

func TestSupervisorRenewFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		renewed := inBackground(func() error { return s.renew(t.Context(), 1) })
		f.exit(2, proc.Exit{Code: 4, LastWords: "no licence"})
		err := <-renewed
		var died *control.WorkerError
		require.ErrorAs(t, err, &died)
		assert.Equal(t, "no licence", died.LastWords)
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 2)
		assert.Empty(t, f.sent(1), "the old one serves on")
		assert.Equal(t, map[int]int{1: 1}, s.serving())
	})
}

func TestSupervisorRenewThatHangsInItsBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1, BootTimeout: time.Minute})
		s.ready(1)
		begin := time.Now()
		err := s.renew(t.Context(), 1)
		require.ErrorContains(t, err, "not ready within 1m0s")
		assert.Equal(t, time.Minute, time.Since(begin))
		assert.Equal(t, []os.Signal{syscall.SIGQUIT}, f.sent(2)[:1])
		assert.Equal(t, map[int]int{1: 1}, s.serving())
	})
}

func TestSupervisorRenewWhileTheOldOneDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		renewed := inBackground(func() error { return s.renew(t.Context(), 1) })
		f.exit(1, proc.Exit{Signal: syscall.SIGKILL})
		time.Sleep(time.Minute / 2)
		assert.Len(t, f.started(), 2, "its replacement is on its way")
		s.ready(2)
		require.NoError(t, <-renewed)
		assert.Equal(t, map[int]int{1: 2}, s.serving())
	})
}

// TestSupervisorRenewWhileBothDie: the slot is filled again all the same.
func TestSupervisorRenewWhileBothDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		renewed := inBackground(func() error { return s.renew(t.Context(), 1) })
		f.exit(1, proc.Exit{Signal: syscall.SIGKILL})
		synctest.Wait()
		f.exit(2, proc.Exit{Code: 1})
		require.Error(t, <-renewed)
		f.awaitStart(s, 2)
		s.ready(3)
		assert.Equal(t, map[int]int{1: 3}, s.serving())
	})
}

// TestSupervisorRenewIsGivenUp ends the wait for a replacement, while the slot has no other worker.
func TestSupervisorRenewIsGivenUp(t *testing.T) {
	for name, f := range map[string]func(s *Supervisor, f *fakes){
		"the old one lives":               func(*Supervisor, *fakes) {},
		"the old one dies":                func(_ *Supervisor, f *fakes) { f.exit(1, proc.Exit{Signal: syscall.SIGKILL}) },
		"it is too late":                  func(s *Supervisor, _ *fakes) { s.ready(2) },
		"it has just died, and the other": func(_ *Supervisor, f *fakes) { f.exit(1, proc.Exit{Code: 1}); f.exit(2, proc.Exit{Code: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, fakes := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1, BootTimeout: time.Minute})
				s.ready(1)
				ctx, cancel := context.WithCancel(t.Context())
				renewed := inBackground(func() error { return s.renew(ctx, 1) })
				f(s, fakes)
				cancel()
				<-renewed
				time.Sleep(time.Minute / 2)
				last := len(fakes.started())
				s.ready(last)
				serving := s.serving()
				require.Len(t, serving, 1, "the slot is filled")
				assert.Len(t, s.liveIDs(), 1, "and no other worker")
			})
		})
	}
}

// liveIDs returns the ids of all workers that live.
func (s *Supervisor) liveIDs() (ids []int) {
	state, _ := s.State()
	for _, n := range state.Workers {
		if n.ID >= 0 {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

func TestSupervisorGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		grown := inBackground(func() error { return s.grow(t.Context(), 1) })
		assert.Equal(t, 2, f.started()[1].Slot)
		s.ready(2)
		require.NoError(t, <-grown)
		assert.Equal(t, map[int]int{1: 1, 2: 2}, s.serving())
		assert.Equal(t, 2, s.slots())
	})
}

func TestSupervisorGrowFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		grown := inBackground(func() error { return s.grow(t.Context(), 1) })
		f.exit(2, proc.Exit{Code: 1})
		require.Error(t, <-grown)
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 2, "no worker is started in a slot that was given up")
		assert.Equal(t, 1, s.slots())
	})
}

func TestSupervisorGrowIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		ctx, cancel := context.WithCancel(t.Context())
		grown := inBackground(func() error { return s.grow(ctx, 1) })
		cancel()
		require.ErrorIs(t, <-grown, context.Canceled)
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 2, "no worker is started in a slot that was given up")
		assert.Equal(t, []int{1}, s.liveIDs())
		assert.Equal(t, 1, s.slots())
	})
}

func TestSupervisorGrowIsGivenUpTooLate(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			s, _ := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
			s.ready(1)
			ctx, cancel := context.WithCancel(t.Context())
			grown := inBackground(func() error { return s.grow(ctx, 1) })
			s.send(lifecycle.Ready{ID: 2})
			cancel()
			err := <-grown
			synctest.Wait()
			assert.Len(t, s.serving(), s.slots(), "%v", err)
		})
	}
}

func TestSupervisorShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 2})
		f.deaf = []os.Signal{syscall.SIGTERM}
		s.ready(1)
		s.ready(2)
		shrunk := inBackground(func() error { return s.grow(t.Context(), -1) })
		assert.Equal(t, []os.Signal{syscall.SIGTERM}, f.sent(2))
		s.drained(f, 2)
		require.NoError(t, <-shrunk)
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 2)
		grown := inBackground(func() error { return s.grow(t.Context(), 1) })
		require.Len(t, f.started(), 3)
		assert.Equal(t, 2, f.started()[2].Slot)
		assert.Equal(t, 2, f.started()[2].Generation, "of the slot, also after it was gone")
		s.ready(3)
		require.NoError(t, <-grown)
	})
}

func TestSupervisorShrinksASlotThatIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 2})
		s.ready(1)
		f.exit(2, proc.Exit{Code: 1})
		synctest.Wait()
		require.NoError(t, s.grow(t.Context(), -1))
		time.Sleep(time.Hour)
		assert.Len(t, f.started(), 2)
	})
}

func TestSupervisorStopDuringRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1})
		s.ready(1)
		renewed := inBackground(func() error { return s.renew(t.Context(), 1) })
		s.send(lifecycle.Stop{Timeout: time.Second})
		require.Error(t, <-renewed)
		<-s.done
		require.NoError(t, s.err)
		require.ErrorIs(t, s.renew(t.Context(), 1), control.ErrStopping)
		err := s.grow(t.Context(), 1)
		assert.ErrorIs(t, err, control.ErrStopping)
	})
}

// TestSupervisorRenewWithoutRestart: an empty slot that is not to be filled is no reason to end a reload.
func TestSupervisorRenewWithoutRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 2, DisableRestart: true})
		s.ready(1)
		s.ready(2)
		f.exit(1, proc.Exit{Code: 1})
		synctest.Wait()
		reload := lifecycle.Order{Kind: lifecycle.Reload}
		renewed := inBackground(func() error { return s.CarryOut(t.Context(), reload) })
		for id := 3; id <= len(f.started()); id++ {
			s.ready(id)
		}
		assert.NotErrorIs(t, <-renewed, control.ErrStopping)
	})
}

// answering links a worker that answers each request, until the function that it returns is called.
func (s *Supervisor) answering(t *testing.T, f *fakes, id int) (silence func()) {
	t.Helper()
	near, far := net.Pipe()
	r := f.started()[id-1]
	l := protocol.NewWorker(near)
	known := false
	s.send(linked{info: r.Info(), link: l, known: &known})
	require.True(t, known)
	silent := make(chan struct{})
	go l.Serve(fromWorker{s.cfg.Steering.Steerer(id, true), s, id})                    // ends with near
	go protocol.NewMaster(far).Serve(silencer{silent: silent}, func(protocol.Stop) {}) // ends with far
	t.Cleanup(func() { _ = errors.Join(near.Close(), far.Close()) })
	return func() { close(silent) }
}

// silencer answers probes until it is silent.
type silencer struct {
	portgroup.Agent
	silent <-chan struct{}
}

func (s silencer) Probe(ctx context.Context) (portgroup.Load, error) {
	if closed.Is(s.silent) {
		<-ctx.Done()
	}
	return portgroup.Load{}, nil
}

func TestSupervisorReplacesWhoDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 1, LivenessTimeout: 5 * time.Second})
		f.deaf = []os.Signal{syscall.SIGQUIT}
		silence := s.answering(t, f, 1)
		s.ready(1)
		time.Sleep(time.Minute)
		require.Len(t, f.started(), 1)
		begin := time.Now()
		silence()
		f.awaitStart(s, 1)
		assert.Less(t, time.Since(begin), 6*time.Second, "replaced before it is gone")
		assert.Equal(t, []os.Signal{syscall.SIGQUIT, proc.Continue}, f.sent(1))
		time.Sleep(4 * time.Second)
		assert.Equal(t, os.Kill, f.sent(1)[2])
		assert.Equal(t, []int{2}, s.liveIDs())
	})
}

// TestSupervisorWithoutRestartEndsWithTheLastWhoHangs: a master that does not listen has nothing left to do.
func TestSupervisorWithoutRestartEndsWithTheLastWhoHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{
			Workers: 1, DisableRestart: true, LivenessTimeout: 5 * time.Second,
		})
		silence := s.answering(t, f, 1)
		s.ready(1)
		silence()
		time.Sleep(time.Minute)
		require.True(t, closed.Is(s.done))
		assert.ErrorContains(t, s.err, "did not answer")
	})
}

func TestSupervisorStartWithoutAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := supervise(t, lifecycle.Config{MasterAccepts: true, Workers: 0})
		s.cfg.NextID = func() (int, error) { return 0, syscall.ENOSPC }
		err := s.grow(t.Context(), 1)
		require.ErrorContains(t, err, syscall.ENOSPC.Error())
		assert.Empty(t, f.started())
	})
}

// adopting runs a supervisor that has found these workers.
func adopting(t *testing.T, rules lifecycle.Config, found ...peer.Info) (*Supervisor, *fakes) {
	t.Helper()
	f := newFakes()
	s := f.supervisor(t, rules)
	s.AdoptAll(found)
	go s.Run()
	t.Cleanup(func() {
		s.send(lifecycle.Cut{})
		<-s.done
	})
	synctest.Wait()
	return s, f
}

func survivor(id, slot, generation int) peer.Info {
	return peer.Info{ID: id, Slot: slot, Generation: generation, PID: firstPID + id}
}

// TestSupervisorAdoptsAndIsReadyWithAll: those that are adopted are not all that are wanted.
func TestSupervisorAdoptsAndIsReadyWithAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := adopting(t, lifecycle.Config{MasterAccepts: true, Workers: 3}, survivor(101, 1, 1), survivor(103, 3, 5))
		s.ready(101)
		s.ready(103)
		assert.False(t, closed.Is(s.allReady))
		s.send(lifecycle.Fill{})
		synctest.Wait()
		require.Len(t, f.started(), 1)
		assert.Equal(t, 2, f.started()[0].Slot)
		assert.False(t, closed.Is(s.allReady))
		s.ready(f.started()[0].ID)
		assert.True(t, closed.Is(s.allReady))
		f.exit(103, proc.Exit{Unknown: true})
		synctest.Wait()
		require.Len(t, f.started(), 2)
		assert.Equal(t, 3, f.started()[1].Slot)
		assert.Equal(t, 6, f.started()[1].Generation)
	})
}

// TestSupervisorAdoptsTwoInASlot: the master was killed in a reload. The serving worker is kept until the other is ready.
func TestSupervisorAdoptsTwoInASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := adopting(t, lifecycle.Config{MasterAccepts: true, Workers: 1}, survivor(101, 1, 1), survivor(102, 1, 2))
		s.ready(101)
		s.send(lifecycle.Fill{})
		synctest.Wait()
		assert.Empty(t, f.started())
		assert.Equal(t, map[int]int{1: 101}, s.serving())
		s.ready(102)
		assert.Equal(t, map[int]int{1: 102}, s.serving())
		assert.True(t, closed.Is(s.allReady))
	})
}

// TestSupervisorAdoptsTwoInASlotTooMany: the master was killed in a reload, and the next one is to have fewer nodes.
func TestSupervisorAdoptsTwoInASlotTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := adopting(t, lifecycle.Config{MasterAccepts: true, Workers: 1}, survivor(101, 1, 1), survivor(102, 2, 1), survivor(103, 2, 2))
		s.ready(101)
		s.ready(102)
		s.send(lifecycle.Fill{})
		s.ready(103)
		time.Sleep(time.Hour)
		assert.Equal(t, []int{101}, s.liveIDs())
	})
}

// TestSupervisorAdoptsFewerThanThereAre: those of the highest slots leave.
func TestSupervisorAdoptsFewerThanThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := adopting(t, lifecycle.Config{MasterAccepts: true, Workers: 1}, survivor(101, 1, 1), survivor(102, 2, 1), survivor(103, 3, 1))
		for id := 101; id <= 103; id++ {
			s.ready(id)
		}
		s.send(lifecycle.Fill{})
		synctest.Wait()
		assert.Equal(t, map[int]int{1: 101}, s.serving())
		time.Sleep(time.Hour)
		assert.Equal(t, []int{101}, s.liveIDs())
		assert.Empty(t, f.started())
	})
}

func TestSupervisorAdoptsOneThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := adopting(t, lifecycle.Config{MasterAccepts: true, Workers: 1}, survivor(101, 1, 1))
		f.exit(101, proc.Exit{Unknown: true})
		synctest.Wait()
		s.send(lifecycle.Fill{})
		f.awaitStart(s, 0)
		require.Len(t, f.started(), 1)
		assert.Equal(t, 2, f.started()[0].Generation)
	})
}
