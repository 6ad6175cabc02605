package steering_test

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/cluster/internal/steering/steeringtest"
)

// fleet is a steering and its agents, on a kernel without sockets.
type fleet struct {
	*steering.Steering
	t       *testing.T
	seed    uint64
	random  *rand.Rand
	kernel  *steeringtest.Kernel
	port    portgroup.Key
	address string
	deaths  atomic.Int32
}

// agent is a node of a fleet.
type agent struct {
	*steeringtest.Process
	id     int
	master protocol.Steerer
}

func newFleet(t *testing.T, seed uint64) *fleet {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 7))
	f := &fleet{
		t: t, seed: seed, random: random, port: portgroup.Key{Network: "tcp", Address: "127.0.0.1:0"},
		kernel: steeringtest.NewKernel(rand.New(rand.NewPCG(seed, 8)), time.Duration(random.IntN(20))*time.Millisecond, float64(random.IntN(3))/20),
	}
	f.startMaster()
	f.Open()
	address, err := f.Address(t.Context(), f.port)
	require.NoError(t, err)
	f.address = address.String()
	return f
}

func (f *fleet) startMaster() {
	f.t.Helper()
	tell := func(e control.Event) {
		assert.NotEqual(f.t, control.EventStranger, e.Kind, "seed %d: %s", f.seed, e.Text)
	}
	var err error
	f.Steering, err = steering.New(steering.Config{Kernel: f.kernel, Logger: slog.New(slog.DiscardHandler), Tell: tell})
	require.NoError(f.t, err)
	f.Start(0, nil)
}

// succeed starts a master that adopts the agents of the one before.
func (f *fleet) succeed(agents ...*agent) {
	f.startMaster()
	for _, a := range agents {
		f.Expect(a.id, a.PID)
	}
	for _, a := range agents {
		inode, kept := a.Listener(f.port)
		f.Linked(a.id, a.PID, a.Process)
		known := make(chan struct{})
		f.Inherit(a.id, []protocol.Listener{{Port: f.port, Address: f.address, Inode: inode, Snapshot: kept}}, known)
		<-known
		f.Ready(a.id)
		a.master = f.Steerer(a.id, true)
	}
	f.Open()
}

// plan returns times for so many things to happen, within a second.
func (f *fleet) plan(count int) (times []time.Duration) {
	for range count {
		times = append(times, time.Duration(f.random.Int64N(int64(time.Second))))
	}
	return times
}

// start starts an agent that joins, and is ready then.
func (f *fleet) start(id int) *agent {
	a := &agent{f.kernel.Start(100 + id), id, f.Steerer(id, true)}
	f.Expect(id, a.PID)
	f.Linked(id, a.PID, a.Process)
	for a.master.Join(f.t.Context(), f.port) != nil {
		time.Sleep(100 * time.Millisecond)
	}
	f.Ready(id)
	return a
}

// leave lets an agent leave, as its process does it by itself.
func (f *fleet) leave(a *agent) {
	for end := time.Now().Add(3 * time.Second); ; {
		epoch, later, err := a.master.Exclude(f.t.Context(), f.port)
		if !assert.NoError(f.t, err) { //nolint:testifylint // not in the goroutine of the test
			return
		}
		if later && time.Now().Before(end) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		before, deaths := a.Accepted(), f.deaths.Load()
		time.Sleep(10 * time.Millisecond) // what is under way comes
		again, err := a.master.Leave(f.t.Context(), f.port, epoch)
		if again && err == nil {
			continue
		}
		if epoch != 0 && err == nil && f.deaths.Load() == deaths { // a death moves another one to its index
			assert.Equal(f.t, before, a.Accepted(), "it has got connections since it was excluded")
		}
		break
	}
	f.end(a, 0)
}

// end ends an agent, which the master learns late.
func (f *fleet) end(a *agent, late time.Duration) {
	f.deaths.Add(1)
	a.Kill()
	time.Sleep(late)
	f.Gone(a.id)
}

// serve lets clients connect until the context ends.
func (f *fleet) serve(ctx context.Context) {
	for ctx.Err() == nil {
		f.kernel.Dial(f.address)
		time.Sleep(3 * time.Millisecond)
	}
}

// certain reports whether the map is certain, and these are the agents that get connections.
func (f *fleet) certain(ids ...int) bool {
	status, weights := f.Status(f.port)
	maps.DeleteFunc(weights, func(_ int, weight float64) bool { return weight == 0 })
	return status.Known && slices.Equal(slices.Sorted(maps.Keys(weights)), ids)
}

// await waits until that is so for longer than a look can take, which makes good what was lost before it.
func (f *fleet) await(ids ...int) {
	f.t.Helper()
	for polls, right := 0, 0; right < 60; polls++ {
		require.Less(f.t, polls, 3000)
		time.Sleep(100 * time.Millisecond)
		if right++; !f.certain(ids...) {
			right = 0
		}
	}
}

// spread tells how many connections each agent gets, of 60.
func (f *fleet) spread() map[int]int {
	got := make(map[int]int)
	for range 60 {
		got[f.kernel.Dial(f.address).PID-100]++
	}
	return got
}

// TestFleet lets agents join, leave and die at the same time, while messages are late or lost.
func TestFleet(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, seed)
			ctx, stop := context.WithCancel(t.Context())
			var clients, agents sync.WaitGroup
			clients.Go(func() { f.serve(ctx) }) // ends with ctx
			joined := make([]*agent, 4)
			for id := 1; id <= 3; id++ {
				agents.Go(func() { joined[id] = f.start(id) })
			}
			agents.Wait()
			times := f.plan(4)
			agents.Go(func() {
				time.Sleep(times[0])
				f.leave(joined[1])
			})
			agents.Go(func() {
				time.Sleep(times[1])
				f.end(joined[2], times[2])
			})
			agents.Go(func() {
				time.Sleep(times[3])
				f.start(4)
			})
			agents.Wait()
			stop()
			clients.Wait()
			f.await(3, 4)
			assert.Equal(t, []int{3, 4}, slices.Sorted(maps.Keys(f.spread())), "seed %d", seed)
			require.NoError(t, f.Close())
		})
	}
}

// TestFleetIsInherited lets the master die while agents join and die, and another one adopt the agents.
func TestFleetIsInherited(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, seed)
			one, two, three := f.start(1), f.start(2), f.start(3)
			time.Sleep(time.Duration(f.random.Int64N(int64(time.Second))))
			if f.random.IntN(2) == 0 { // it dies first
				two.Kill()
			}
			require.NoError(t, f.Close())
			two.Kill()
			f.succeed(one, three)
			f.start(4)
			f.await(1, 3, 4)
			f.leave(one)
			f.await(3, 4)
			assert.Equal(t, []int{3, 4}, slices.Sorted(maps.Keys(f.spread())), "seed %d", seed)
			require.NoError(t, f.Close())
		})
	}
}
