package cluster

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// listeners returns the inode of each process's listener on a port.
func listeners(t *testing.T, addr string) map[int]uint32 {
	t.Helper()
	owners, err := reuseport.Owners(t.Context(), "tcp", addr)
	require.NoError(t, err)
	all := make(map[int]uint32)
	for _, o := range owners {
		all[o.PID] = o.Inode
	}
	return all
}

// TestStrangerIsGuarded kills a worker beside a stranger while there is no master: the kernel has to find one of ours to
// move to its index.
func TestStrangerIsGuarded(t *testing.T) {
	needSteering(t)
	t.Parallel()
	opts := orphans(t, 4)
	c := run(t, "http", opts)
	addr := c.ready(t)
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known && len(pidsOf(s)) == 4 })
	before := listeners(t, addr)
	load := underLoad(t, addr)
	letJoin(t, addr)
	moved := func() (moved []int) {
		for pid, inode := range listeners(t, addr) {
			if was, known := before[pid]; known && was != inode {
				moved = append(moved, pid)
			}
		}
		return moved
	}
	require.Eventually(t, func() bool { return len(moved()) == 1 }, patience, 10*time.Millisecond, "a worker moves")
	s := c.awaitStatus(t, func(s control.Status) bool {
		weights := 0.
		for _, n := range s.Nodes {
			weights = max(weights, n.Weight)
		}
		return s.Steering.Known && len(s.Steering.Strangers) == 1 && weights == 25
	})
	noneFailed(t, load)
	survey(t, addr, 4)
	require.Len(t, moved(), 1, "and no other one")

	c.killMaster(t)
	var victim int
	for _, pid := range pidsOf(s) {
		if pid != moved()[0] {
			victim = pid
		}
	}
	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	require.Eventually(t, func() bool { // the socket is closed, and not only its process gone from /proc
		left, err := reuseport.Listeners(t.Context(), "tcp", addr)
		return err == nil && !slices.ContainsFunc(left, func(l reuseport.Listener) bool { return l.Inode == before[victim] })
	}, patience, time.Millisecond)
	const requests = 400
	strange := 0
	for range requests {
		a, err := get(addr, "/")
		require.NoError(t, err)
		if a.Slot == -1 {
			strange++
		}
	}
	// The index of the member that has moved is beyond the group, and the hash decides for it: 1 of 16. It was 1 of 4.
	assert.Less(t, strange, requests/8)

	c = run(t, "http", opts)
	c.ready(t)
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known && len(pidsOf(s)) == 4 })
	survey(t, addr, 4)
}
