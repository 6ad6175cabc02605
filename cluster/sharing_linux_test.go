package cluster

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/proctest"
	"github.com/multinode-go/multinode/reuseport"
)

// stop stops a process.
func stop(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.Eventually(t, func() bool { return proctest.IsStopped(pid) }, patience, time.Millisecond)
}

// resume lets a process that was stopped go on.
func resume(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
}

// ask makes connections that each send a request, and returns when all are established. answered waits for the answers, and returns how
// many there are.
func ask(t *testing.T, addr string, clients int) (answered func() int) {
	t.Helper()
	var count atomic.Int32
	var done sync.WaitGroup
	for range clients {
		conn, err := net.DialTimeout("tcp", addr, patience)
		require.NoError(t, err)
		done.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if request(conn) {
				count.Add(1)
			}
		})
	}
	return func() int {
		done.Wait()
		return int(count.Load())
	}
}

// TestStoppedNodeDelaysNothing: connections that the hash gives to a node that is stopped are answered by the others.
func TestStoppedNodeDelaysNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"on", "polling"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: true, LivenessTimeout: patience}, sharingVariable+"="+how)
			addr := c.ready(t)
			victim := pidsOf(c.status(t))[1]
			survey(t, addr, 3)
			want := map[string]string{"on": "exclusive", "polling": "polling"}[how]
			assert.Equal(t, want, c.status(t).Steering.Sharing)
			stop(t, victim)
			for range 60 {
				a, err := get(addr, "/")
				require.NoError(t, err)
				assert.NotEqual(t, victim, a.PID)
			}
			resume(t, victim)
			survey(t, addr, 3)
		})
	}
}

// TestCrashLosesNothingThatWaits: a node that is killed has connections in its queue, and nothing is lost. Its listener leaves the
// group.
func TestCrashLosesNothingThatWaits(t *testing.T) {
	t.Parallel()
	const nodes, clients = 3, 120
	c := run(t, "http", programOptions{Nodes: nodes, DisableMasterListen: true, LivenessTimeout: patience, ShareQueues: true})
	addr := c.ready(t)
	survey(t, addr, nodes)
	var killed int
	for range 3 {
		pids := pidsOf(c.awaitStatus(t, func(s control.Status) bool { return allReady(s, nodes) && pidsOf(s)[1] != killed }))
		for slot := 1; slot <= nodes; slot++ {
			stop(t, pids[slot])
		}
		answered := ask(t, addr, clients) // some wait in each queue
		killed = pids[1]
		require.NoError(t, syscall.Kill(killed, syscall.SIGKILL))
		for slot := 2; slot <= nodes; slot++ {
			resume(t, pids[slot])
		}
		assert.Equal(t, clients, answered())
	}
	require.Eventually(t, func() bool { return listening(t, addr) == nodes }, patience, 10*time.Millisecond, "one for each node")
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known && allReady(s, nodes) })
	survey(t, addr, nodes)
}

// TestPausedNodeDoesNotHelp: it takes nothing from the queue of a node that is stopped.
func TestPausedNodeDoesNotHelp(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: true, LivenessTimeout: patience, ShareQueues: true})
	addr := c.ready(t)
	s := c.awaitStatus(t, func(s control.Status) bool { return allReady(s, 3) })
	survey(t, addr, 3)
	c.ordered(t, fmt.Sprint("/pause/", s.Nodes[1].ID))
	c.getsNothing(t, addr, 1)
	stop(t, pidsOf(s)[2])
	for range 60 {
		a, err := get(addr, "/")
		require.NoError(t, err)
		assert.Equal(t, 3, a.Slot)
	}
	resume(t, pidsOf(s)[2])
	c.ordered(t, fmt.Sprint("/resume/", s.Nodes[1].ID))
	survey(t, addr, 3)
}

// TestCrashOfTheOnlyNode: what waits in its queue is answered by the node that comes in its place.
func TestCrashOfTheOnlyNode(t *testing.T) {
	t.Parallel()
	const clients = 50
	c := run(t, "http", programOptions{Nodes: 1, DisableMasterListen: true, LivenessTimeout: patience, ShareQueues: true})
	addr := c.ready(t)
	victim := pidsOf(c.awaitStatus(t, func(s control.Status) bool { return allReady(s, 1) }))[1]
	survey(t, addr, 1)
	stop(t, victim)
	answered := ask(t, addr, clients)
	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	assert.Equal(t, clients, answered())
	require.Eventually(t, func() bool { return listening(t, addr) == 1 }, patience, 10*time.Millisecond)
}

// TestCrashWithoutAMaster: the next master finds the listener of a node that has died meanwhile, and takes it out of the group.
func TestCrashWithoutAMaster(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 3)
	opts.ShareQueues = true
	old := run(t, "http", opts)
	addr := old.ready(t)
	pids := pidsOf(old.awaitStatus(t, func(s control.Status) bool { return allReady(s, 3) }))
	survey(t, addr, 3)
	old.killMaster(t)
	stop(t, pids[1])
	answered := ask(t, addr, 60)
	require.NoError(t, syscall.Kill(pids[1], syscall.SIGKILL))
	assert.Equal(t, 60, answered(), "there is no master")
	require.Equal(t, 3, listening(t, addr), "the others accept from its queue")

	c := run(t, "http", opts)
	require.Equal(t, addr, c.ready(t))
	c.awaitStatus(t, func(s control.Status) bool {
		return s.Steering.Known && allReady(s, 3) && len(s.Steering.Strangers) == 0
	})
	require.Eventually(t, func() bool { return listening(t, addr) == 3 }, patience, 10*time.Millisecond)
	survey(t, addr, 3)
}

// TestReloadLeavesNoDuplicates open.
func TestReloadLeavesNoDuplicates(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: true, LameDuck: shortDuck, ShareQueues: true})
	addr := c.ready(t)
	survey(t, addr, 3)
	c.ordered(t, "/reload")
	var before int
	require.Eventually(t, func() bool { before = sockets(t, c); return listening(t, addr) == 3 }, patience, 10*time.Millisecond)
	for range 3 {
		c.ordered(t, "/reload")
	}
	require.Eventually(t, func() bool { return sockets(t, c) <= before }, patience, 10*time.Millisecond, "%d descriptors before", before)
}

// listening returns how many listeners share a port.
func listening(t *testing.T, addr string) int {
	t.Helper()
	all, err := reuseport.Listeners(t.Context(), "tcp", addr)
	require.NoError(t, err)
	return len(all)
}

// allReady reports whether so many nodes are ready.
func allReady(s control.Status, nodes int) bool {
	ready := 0
	for _, n := range s.Nodes {
		if n.State == control.StateReady && n.Accepts {
			ready++
		}
	}
	return ready == nodes
}

// sockets returns how many descriptors of sockets and events the processes of a cluster have.
func sockets(t *testing.T, c *testCluster) (count int) {
	t.Helper()
	for _, pid := range c.processes(t) {
		dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
		entries, _ := os.ReadDir(dir) // it may be gone
		for _, e := range entries {
			if target, _ := os.Readlink(dir + e.Name()); strings.HasPrefix(target, "socket:") || strings.HasSuffix(target, "[eventfd]") {
				count++
			}
		}
	}
	return count
}
