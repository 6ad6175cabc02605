//go:build linux

package cluster

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// pinned is a client on one connection: it knows which process would be to blame.
type pinned struct {
	client *http.Client
	pid    int
}

// connect opens a connection, and finds out which node has accepted it.
func connect(addr string) (*pinned, error) {
	p := &pinned{client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}}
	a, err := fetch(p.client, addr, "/")
	p.pid = a.PID
	return p, err
}

// load keeps connections busy until stop, and calls failed for each that failed: with its pid, or 0 when it failed
// before it knew.
func load(addr string, connections int, stop <-chan struct{}, failed func(pid int, err error)) *sync.WaitGroup {
	var clients sync.WaitGroup
	for range connections {
		clients.Go(func() {
			for running(stop) {
				use(addr, stop, failed)
			}
		})
	}
	return &clients
}

// use takes one connection through 20 requests.
func use(addr string, stop <-chan struct{}, failed func(pid int, err error)) {
	p, err := connect(addr)
	defer p.client.CloseIdleConnections()
	for i := 0; i < 20 && err == nil && running(stop); i++ {
		_, err = fetch(p.client, addr, "/")
	}
	if err != nil {
		failed(p.pid, err)
	}
}

func running(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
		return true
	}
}

// TestKillUnderLoad kills each worker in turn, 20 times in all.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 4})
	addr := c.ready(t)
	live := survey(t, addr, 4)

	var mu sync.Mutex // guards killed
	killed := make(map[int]bool)
	var killing atomic.Bool // a worker has been killed, and its replacement isn't ready
	stop := make(chan struct{})
	var failures atomic.Int32
	clients := load(addr, 8, stop, func(pid int, err error) {
		failures.Add(1)
		mu.Lock()
		defer mu.Unlock()
		if pid != 0 {
			assert.True(t, killed[pid], "a connection of process %d failed, which was not killed: %v", pid, err)
			return
		}
		assert.True(t, killing.Load(), "a new connection failed while no process was killed: %v", err)
	})
	stopLoad := sync.OnceFunc(func() { close(stop); clients.Wait() })
	defer stopLoad()

	ids := map[int]bool{0: true, 1: true, 2: true, 3: true}
	for i := range 9 {
		slot := 1 + i%3
		old := live[slot]
		mu.Lock()
		killed[old.PID] = true
		mu.Unlock()
		killing.Store(true)
		require.NoError(t, syscall.Kill(old.PID, syscall.SIGKILL))
		death, logged := c.died(t, i+1)
		assert.Equal(t, slot, death.Slot)
		assert.Equal(t, "signal: killed", death.Text)
		assert.True(t, *logged.WasReady)
		next := c.told(t, control.EventReady, 3+i+1)
		killing.Store(false)
		assert.Equal(t, slot, next.Slot, "the replacement takes over the slot")
		assert.Equal(t, old.Generation+1, next.Generation)
		assert.False(t, ids[next.ID], "an id is never used again")
		ids[next.ID] = true
		live[slot] = answer{PID: next.PID, ID: next.ID, Slot: slot, Generation: next.Generation}
	}
	stopLoad()
	for slot, a := range survey(t, addr, 4) {
		assert.Equal(t, live[slot].PID, a.PID, "slot %d", slot)
	}
	t.Logf("%d connections of killed workers failed", failures.Load())
}

func TestBrokenWorkersEndTheMaster(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ program, reason, words string }{
		{"panic", "exit code 2", "panic: the worker cannot go on"},
		{"exit", "exit code 3", "no licence found"},
		{"refuse", "exit code 0", "this server is deaf"},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			p := run(t, c.program, programOptions{Nodes: 3})
			code, stderr := p.exit(t)
			t.Logf("ended after %v", time.Since(begin))
			assert.Equal(t, 1, code)
			last := stderr[len(stderr)-min(len(stderr), 500):]
			assert.Contains(t, last, "cluster: no worker has ever become ready")
			assert.Contains(t, last, c.reason)
			assert.Contains(t, last, c.words)
			p.gone(t)
		})
	}
}

func TestWorkerThatDiesForEverBacksOff(t *testing.T) {
	t.Parallel()
	c := run(t, "short", programOptions{Nodes: 3, Life: time.Second})
	addr := c.ready(t)
	stop := make(chan struct{})
	clients := load(addr, 2, stop, func(int, error) {}) // those of slot 1 fail
	others := make(map[int]int)
	var last time.Duration
	for nth := range 4 {
		death, logged := c.died(t, nth+1)
		assert.Equal(t, 1, death.Slot)
		assert.Equal(t, "exit code 7", death.Text)
		assert.GreaterOrEqual(t, logged.Lived, time.Second)
		if nth == 0 {
			assert.Zero(t, logged.RestartIn)
		} else {
			assert.Greater(t, logged.RestartIn, last, "longer each time")
		}
		last = logged.RestartIn
		for range 20 {
			if a, err := get(addr, "/"); err == nil {
				others[a.Slot]++
			}
		}
	}
	close(stop)
	clients.Wait()
	assert.NotZero(t, others[0], "the master serves all the while")
	assert.NotZero(t, others[2], "and the other worker")
	isEmpty := func(n control.NodeStatus) bool { return n.ID == -1 } // a slot between two workers
	s := c.awaitStatus(t, func(s control.Status) bool { return slices.ContainsFunc(s.Nodes, isEmpty) })
	assert.Equal(t, control.StateWaiting, s.Nodes[slices.IndexFunc(s.Nodes, isEmpty)].State, "it boots well")
}

// TestHungBoot gives a worker that hangs in main more time if the machine is so slow that it does not get there.
func TestHungBoot(t *testing.T) {
	t.Parallel()
	for within := 300 * time.Millisecond; ; within *= 4 {
		c := run(t, "hang", programOptions{Nodes: 2, BootTimeout: within})
		death, logged := c.died(t, 1)
		reason := fmt.Sprintf("not ready within %v, ended by us: ", within)
		assert.Contains(t, death.Text, reason)
		assert.False(t, *logged.WasReady)
		if strings.Contains(logged.LastWords, "hangInWorker") { // what main was doing
			assert.Equal(t, reason+"exit code 2", death.Text)
			assert.Contains(t, c.log.text(), "SIGQUIT: quit", "the whole dump is in the log, as the Go runtime writes it")
			return
		}
		require.Less(t, within, time.Minute, "the last words are %q", logged.LastWords)
	}
}

func TestDisableRestart(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, DisableRestart: true})
	addr := c.ready(t)
	victim := survey(t, addr, 3)[1]
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGKILL))
	assert.Equal(t, victim.PID, c.told(t, control.EventDied, 1).PID)
	assert.Len(t, survey(t, addr, 2), 2)
	assert.Len(t, c.processes(t), 2)
	c.signal(t, syscall.SIGTERM)
	code, _ := c.exit(t)
	assert.Zero(t, code)
}

func TestDisableRestartEndsWithTheLastWorker(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 1, DisableRestart: true, DisableMasterListen: true})
	victim := survey(t, c.ready(t), 1)[1]
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGKILL))
	code, stderr := c.exit(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "cluster: no worker is left, and restarting is disabled: worker 1 (slot 1, pid ")
	c.gone(t)
}
