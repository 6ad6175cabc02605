//go:build linux

package cluster

import (
	"context"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

func TestFourNodesShareThePort(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 4})
	addr := c.ready(t)
	answers := make(map[int]int)
	for range 400 {
		a, err := get(addr, "/")
		require.NoError(t, err)
		answers[a.PID]++
		assert.Equal(t, addr, a.Addr)
	}
	assert.Len(t, answers, 4, "all answer")
	for pid, n := range answers {
		assert.LessOrEqual(t, n, 180, "pid %d has more than 45 %% of the connections", pid)
	}
	for slot, a := range survey(t, addr, 4) {
		assert.Equal(t, slot == 0, a.Master)
		assert.Equal(t, slot, a.ID, "the ids of a new cluster")
		assert.Equal(t, 1, a.Generation)
		assert.Equal(t, c.cmd.Process.Pid == a.PID, a.Master)
	}
}

func TestDisableMasterListen(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, DisableMasterListen: true})
	addr := c.ready(t)
	answers := survey(t, addr, 2)
	assert.NotContains(t, answers, 0, "the master")
	for range 100 {
		a, err := get(addr, "/")
		require.NoError(t, err)
		assert.NotEqual(t, c.cmd.Process.Pid, a.PID)
	}
	c.signal(t, syscall.SIGTERM)
	code, _ := c.exit(t)
	assert.Zero(t, code)
	c.gone(t)
}

func TestOneNodeStartsNoWorker(t *testing.T) {
	c := run(t, "http", programOptions{Nodes: 1})
	a, err := get(c.ready(t), "/")
	require.NoError(t, err)
	assert.Equal(t, c.cmd.Process.Pid, a.PID)
	assert.Equal(t, []int{a.PID}, c.processes(t))
}

func TestNodesByGOMAXPROCS(t *testing.T) {
	c := run(t, "http", programOptions{}, "GOMAXPROCS=3")
	for _, a := range survey(t, c.ready(t), 3) {
		assert.Equal(t, 3, a.Procs, "what the user has set holds in all nodes")
	}
	assert.Len(t, c.processes(t), 3)
}

func TestShareOfGOMAXPROCS(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	for _, a := range survey(t, run(t, "http", programOptions{Nodes: 4}).ready(t), 4) {
		assert.Equal(t, share(4), a.Procs)
	}
	procs := share(1)
	assert.Equal(t, (procs+1)/2, share(2), "rounded up")
	assert.Equal(t, 1, share(1000))
}

func TestManualReady(t *testing.T) {
	t.Parallel()
	c := run(t, "warm", programOptions{Nodes: 2})
	c.ready(t)
	assert.GreaterOrEqual(t, c.told(t, control.EventReady, 1).Took, 300*time.Millisecond)
}

func TestNilServer(t *testing.T) {
	c := run(t, "own loop", programOptions{Nodes: 2})
	survey(t, c.ready(t), 2)
	c.signal(t, syscall.SIGTERM)
	code, _ := c.exit(t)
	assert.Zero(t, code)
	c.gone(t)
}

func TestMorePorts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, disable := range []bool{false, true} {
		c := run(t, "more ports", programOptions{Nodes: 3, DisableMasterListen: disable},
			"MULTINODE_TEST_TAKEN="+taken.Addr().String())
		nodes := 3
		first, second, third := c.ready(t), c.printed(t, "more", 1), c.printed(t, "more", 2)
		assert.NotEqual(t, second, third, "each call is a port of its own")
		for _, addr := range []string{first, second, third} {
			answers := survey(t, addr, nodes)
			assert.Equal(t, !disable, answers[0].Master)
		}
		for nth := range 3 { // of each node
			text := c.printed(t, "taken", nth+1)
			assert.True(t, strings.HasPrefix(text, "true cluster: reuseport: listen tcp "+taken.Addr().String()), text)
			assert.Contains(t, text, "cluster.test (pid ", "names the holder")
		}
		c.signal(t, syscall.SIGTERM)
		code, _ := c.exit(t)
		assert.Zero(t, code)
		c.gone(t)
	}
}

func TestWorkerStartsTheProgramAgain(t *testing.T) {
	t.Parallel()
	c := run(t, "nested", programOptions{Nodes: 2})
	assert.Equal(t, "true 0 true", c.printed(t, "nested", 1), "a master of its own, and no variable left")
}

func TestListenTwiceInAWorker(t *testing.T) {
	c := run(t, "listen twice", programOptions{Nodes: 2})
	assert.Contains(t, c.printed(t, "twice", 1), "use Node.Listen for more ports")
}

func TestListenAgainAfterShutdown(t *testing.T) {
	for range 3 {
		n, err := Listen(Options{Addr: "127.0.0.1:0", Nodes: 1, Dir: ownDir(t)}, new(http.Server))
		require.NoError(t, err)
		require.NoError(t, n.WaitReady(t.Context()))
		require.NoError(t, n.Shutdown(t.Context()))
		assert.NoError(t, n.Wait())
	}
}

func TestShutdownTwiceAndAfter(t *testing.T) {
	n, err := Listen(Options{Addr: "127.0.0.1:0", Nodes: 1, Dir: ownDir(t)}, new(http.Server))
	require.NoError(t, err)
	first := make(chan error)
	go func() { first <- n.Shutdown(context.Background()) }()
	assert.NoError(t, n.Shutdown(t.Context()))
	assert.NoError(t, <-first)
	_, err = n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, net.ErrClosed)
	assert.ErrorIs(t, n.WaitReady(t.Context()), net.ErrClosed)
}

func TestServerThatWasClosedBefore(t *testing.T) {
	server := new(http.Server)
	require.NoError(t, server.Close())
	n, err := Listen(Options{Addr: "127.0.0.1:0", Nodes: 1, Dir: ownDir(t)}, server)
	require.NoError(t, err)
	assert.ErrorIs(t, n.Wait(), http.ErrServerClosed)
}
