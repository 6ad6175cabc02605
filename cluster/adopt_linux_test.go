package cluster

import (
	"maps"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// killMaster kills the master of c, and returns when its process is gone.
func (c *testCluster) killMaster(t *testing.T) {
	t.Helper()
	c.signal(t, syscall.SIGKILL)
	<-c.exited
}

// leftNothing checks that neither a process nor a file is left. The directory stays, which another master has made.
func (c *testCluster) leftNothing(t *testing.T) {
	t.Helper()
	assert.Empty(t, c.processes(t), "processes")
	left, err := filepath.Glob(c.dir + "/*")
	require.NoError(t, err)
	assert.Empty(t, left, "files")
}

// orphans returns the options of a cluster of workers whose master can be killed.
func orphans(t *testing.T, nodes int) programOptions {
	t.Helper()
	return programOptions{
		Nodes: nodes, Name: "shop", Dir: ownDir(t), Addr: "127.0.0.1:0", DisableMasterListen: true, LameDuck: shortDuck,
		OrphanTimeout: patience,
	}
}

func TestAdoption(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 3)
	old := run(t, "http", opts)
	addr := old.ready(t)
	before := old.status(t)
	load := underLoad(t, addr)
	old.killMaster(t)
	c := run(t, "http", opts)
	assert.Equal(t, addr, c.ready(t), "also of port 0")
	s := c.status(t)
	assert.Equal(t, pidsOf(before), pidsOf(s), "no live worker is started again")
	assert.Equal(t, 4, s.Nodes[0].ID, "a new id")
	c.neverTold(t, control.EventStarted)
	assert.Empty(t, s.Steering.Strangers)

	c.ordered(t, "/reload")
	s = c.status(t)
	assert.Len(t, pidsOf(s), 3)
	for slot, pid := range pidsOf(s) {
		assert.NotEqual(t, pidsOf(before)[slot], pid)
	}
	assert.Equal(t, 7, highestIDOf(s), "the ids count on")
	c.ordered(t, "/scale?nodes=4")
	c.ordered(t, "/scale?nodes=2")
	noneFailed(t, load)
	survey(t, addr, 2)
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	c.leftNothing(t)
}

func TestAdoptedWorkerIsReplacedWhenItDies(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 2)
	old := run(t, "http", opts)
	addr := old.ready(t)
	old.killMaster(t)
	c := run(t, "http", opts)
	c.ready(t)
	victim := survey(t, addr, 2)[1]
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGKILL))
	death, logged := c.died(t, 1)
	assert.Equal(t, victim.PID, death.PID)
	assert.Zero(t, logged.RestartIn)
	next := c.told(t, control.EventReady, 3)
	assert.Equal(t, 1, next.Slot)
	assert.Equal(t, 2, next.Generation)
	assert.Equal(t, 4, next.ID)
	survey(t, addr, 2)
}

func TestAdoptionTwice(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 2)
	c := run(t, "http", opts)
	addr := c.ready(t)
	before := pidsOf(c.status(t))
	load := underLoad(t, addr)
	for i := range 3 {
		c.killMaster(t)
		c = run(t, "http", opts)
		c.ready(t)
		s := c.status(t)
		assert.Equal(t, before, pidsOf(s))
		assert.Equal(t, 3+i, s.Nodes[0].ID)
	}
	noneFailed(t, load)
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	c.leftNothing(t)
}

func TestAdoptionByAMasterThatListens(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 3)
	opts.DisableMasterListen = false
	old := run(t, "http", opts)
	addr := old.ready(t)
	before := pidsOf(old.status(t))
	old.killMaster(t)
	c := run(t, "http", opts)
	c.ready(t)
	after := pidsOf(c.status(t))
	assert.Len(t, survey(t, addr, 3), 3)
	delete(before, 0)
	delete(after, 0)
	assert.Equal(t, before, after)
}

func TestAdoptionWithOtherNodes(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 2, 5} {
		opts := orphans(t, 3)
		old := run(t, "http", opts)
		addr := old.ready(t)
		before := pidsOf(old.status(t))
		old.killMaster(t)
		opts.Nodes = nodes
		c := run(t, "http", opts)
		c.ready(t)
		s := c.awaitStatus(t, func(s control.Status) bool { return len(s.Nodes) == nodes+1 })
		require.Len(t, pidsOf(s), nodes)
		for slot, pid := range pidsOf(s) {
			if slot <= 3 {
				assert.Equal(t, before[slot], pid, "those of the lowest slots stay")
			}
		}
		survey(t, addr, nodes)
	}
}

// TestAdoptionOfOneThatDies kills a worker while there is no master.
func TestAdoptionOfOneThatDies(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 3)
	old := run(t, "http", opts)
	addr := old.ready(t)
	before := pidsOf(old.status(t))
	old.killMaster(t)
	require.NoError(t, syscall.Kill(before[2], syscall.SIGKILL))
	c := run(t, "http", opts)
	c.ready(t)
	after := pidsOf(c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 3 }))
	assert.Equal(t, before[1], after[1])
	assert.NotEqual(t, before[2], after[2])
	assert.Equal(t, before[3], after[3])
	survey(t, addr, 3)
}

// TestAdoptionOfOneThatIsStopped: a stopped worker cannot report its listeners, and is no stranger.
func TestAdoptionOfOneThatIsStopped(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 3)
	opts.LivenessTimeout = time.Second
	old := run(t, "http", opts)
	addr := old.ready(t)
	before := pidsOf(old.status(t))
	old.killMaster(t)
	require.NoError(t, syscall.Kill(before[2], syscall.SIGSTOP))
	defer syscall.Kill(before[2], syscall.SIGKILL)
	begin := time.Now()
	c := run(t, "http", opts)
	c.ready(t)
	t.Logf("ready after %v", time.Since(begin))
	after := pidsOf(c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 3 }))
	assert.Equal(t, before[1], after[1])
	assert.NotEqual(t, before[2], after[2])
	assert.Equal(t, before[3], after[3])
	survey(t, addr, 3)
	assert.Eventually(t, func() bool { return !slices.Contains(c.processes(t), before[2]) }, patience, time.Millisecond,
		"it is ended, as its place is taken")
	c.neverTold(t, control.EventStranger)
}

// TestAdoptionDuringAReload kills a master that is about to replace a worker.
func TestAdoptionDuringAReload(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 2)
	old := run(t, "warm", opts)
	addr := old.ready(t)
	before := pidsOf(old.status(t))
	load := underLoad(t, addr)
	old.signal(t, syscall.SIGHUP)
	old.told(t, control.EventStarted, 3)
	old.killMaster(t)
	c := run(t, "warm", opts)
	c.ready(t)
	s := c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 2 && len(s.Nodes) == 3 })
	assert.Equal(t, before[2], pidsOf(s)[2], "whose turn had not come")
	noneFailed(t, load)
	survey(t, addr, 2)
}

// TestAdoptionWithoutOrphans: no worker is left either, only the lock file.
func TestAdoptionWithoutOrphans(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 1)
	old := run(t, "http", opts)
	addr := old.ready(t)
	pid := pidsOf(old.status(t))[1]
	old.killMaster(t)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	assert.Eventually(t, func() bool { return len(old.processes(t)) == 0 }, patience, time.Millisecond)
	opts.Addr = addr
	c := run(t, "http", opts)
	assert.Equal(t, addr, c.ready(t))
	assert.Len(t, pidsOf(c.status(t)), 1)
}

// TestAdoptionOfMorePorts: each port that the workers have is kept, also those of port 0.
func TestAdoptionOfMorePorts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	opts, variable := orphans(t, 2), "MULTINODE_TEST_TAKEN="+taken.Addr().String()
	old := run(t, "more ports", opts, variable)
	ports := []string{old.ready(t), old.printed(t, "more", 1), old.printed(t, "more", 2)}
	old.printed(t, "taken", 3)
	old.killMaster(t)
	c := run(t, "more ports", opts, variable)
	now := []string{c.ready(t), c.printed(t, "more", 1), c.printed(t, "more", 2)}
	assert.Equal(t, ports, now)
	c.ordered(t, "/reload")
	for _, addr := range ports {
		assert.Equal(t, []int{1, 2}, slices.Sorted(maps.Keys(survey(t, addr, 2))))
	}
}
