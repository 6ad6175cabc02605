package invalidate

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
)

// allSlots is how many processes can share a memory.
const allSlots = 512

// memoryOf returns a memory with an empty table, as long as the test runs.
func memoryOf(t *testing.T) *os.File {
	t.Helper()
	memory, err := versioned.Create("test", 1)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, memory.Close()) })
	return memory
}

// copyOf returns another memory with the same content.
func copyOf(t *testing.T, memory *os.File) *os.File {
	t.Helper()
	other := memoryOf(t)
	info, err := memory.Stat()
	require.NoError(t, err)
	content := make([]byte, info.Size())
	_, err = memory.ReadAt(content, 0)
	require.NoError(t, err)
	_, err = other.WriteAt(content, 0)
	require.NoError(t, err)
	return other
}

// share takes a slot of a memory, as another process.
func share(t *testing.T, memory *os.File, self rendezvous.Incarnation) {
	t.Helper()
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", memory.Fd()), os.O_RDWR, 0)
	require.NoError(t, err)
	table, err := versioned.Open(file, self, 0)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, table.Close()) })
}

func TestCacheWithACopyOfATable(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	nodes := []*node{join(t, dir, 0), join(t, dir, 1), join(t, dir, 2)}
	memory := memoryOf(t)
	share(t, memory, 1) // has the first slot, which the writer takes in the copy
	var r row
	original := hand(t, nodes[2], memory)
	reader := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, r.load)
	awaitServing(t, reader)
	isolate(t, reader)
	require.NoError(t, original.close())
	hand(t, nodes[2], copyOf(t, memory))
	writer := cacheOf(t, nodes[1].Bus, Options[string, int64]{}, r.load)
	eventually(t, func() bool { return writer.Stats().Serving && reader.Stats().Serving }, "they serve")
	get(t, reader, "k")
	r.value.Store(1)
	require.NoError(t, writer.Invalidate(limited(t), "k"))
	assert.EqualValues(t, 1, get(t, reader, "k"))
}

// isolate makes a cache keep its memory for itself, as when all links to it are lost.
func isolate[V any](t *testing.T, c *Cache[string, V]) {
	t.Helper()
	require.NoError(t, c.group.host.close())
}

// hand makes a node without a cache send a memory to the processes that ask.
func hand(t *testing.T, n *node, memory *os.File) *host {
	t.Helper()
	h, err := newHost(n.mesh, n.Logger(), defaultName)
	require.NoError(t, err)
	h.memory, h.isDecided = memory, true
	h.start()
	t.Cleanup(func() { assert.NoError(t, h.close()) })
	return h
}

// All processes that make the cache at the same time share one memory.
func TestCachesThatComeAtOnce(t *testing.T) {
	t.Parallel()
	const count = 5
	nodes := meshOf(t, count)
	for range 4 {
		caches := make([]*Cache[string, int64], count)
		var r row
		var coming sync.WaitGroup
		for i, n := range nodes {
			coming.Go(func() {
				var err error
				caches[i], err = New(n.Bus, Options[string, int64]{}, r.load)
				assert.NoError(t, err)
			})
		}
		coming.Wait()
		awaitServing(t, caches...)
		for _, c := range caches {
			for _, p := range c.Stats().Peers {
				assert.True(t, p.Shared)
			}
			assert.NoError(t, c.Close())
		}
	}
}

// A process that was asked by a lower id while it had no memory leaves it to that one to make it.
func TestLowerIDMakesTheMemory(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	higher, err := newHost(nodes[1].mesh, nodes[1].Logger(), defaultName)
	require.NoError(t, err)
	higher.start()
	require.Nil(t, higher.search(limited(t)), "no process has it")
	lower := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, new(row).load)
	b, err := higher.decide(nil, 1)
	require.NoError(t, err)
	require.Nil(t, b)
	b, err = higher.find(1)
	require.NoError(t, err)
	defer b.Close()
	defer higher.close()
	assert.True(t, b.Has(nodes[0].mesh.Self().Incarnation))
	assert.True(t, lower.group.table.Has(nodes[1].mesh.Self().Incarnation))
}

// A process that comes while others go gets the memory of a process that stays.
func TestCachesThatComeAndGo(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 4)
	var r row
	stays := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, r.load)
	var users sync.WaitGroup
	for _, n := range nodes[1:] {
		users.Go(func() {
			for range 15 {
				c, err := New(n.Bus, Options[string, int64]{}, r.load)
				if err != nil {
					t.Error(err)
					return
				}
				assert.True(t, c.group.table.Has(nodes[0].mesh.Self().Incarnation))
				assert.NoError(t, c.Close())
			}
		})
	}
	users.Wait()
	awaitServing(t, stays)
}

// Two groups with a memory each send each other messages.
func TestTwoMemories(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 4)
	var r row
	caches := make([]*Cache[string, int64], 4)
	for i := range caches {
		if i == 2 {
			isolate(t, caches[0])
			isolate(t, caches[1])
		}
		caches[i] = cacheOf(t, nodes[i].Bus, Options[string, int64]{}, r.load)
	}
	awaitServing(t, caches...)
	for i, c := range caches {
		for _, p := range c.Stats().Peers {
			assert.Equal(t, i/2 == p.Peer.ID/2, p.Shared, "%d and %d", i, p.Peer.ID)
		}
		r.value.Add(1)
		require.NoError(t, c.Invalidate(limited(t), "k"))
		for _, c := range caches {
			assert.Equal(t, r.value.Load(), get(t, c, "k"))
		}
	}
}

// A cache has nothing in the directory, so nothing there can be truncated, replaced or in its way.
func TestCacheHasNothingInTheDirectory(t *testing.T) {
	t.Parallel()
	const name = "cache-37a8eec1ce19687d.board1" // of the cache "default", as it was once
	makers := map[string]func(path string) error{
		"unfinished": func(path string) error { return os.WriteFile(path, make([]byte, 16<<20), 0o600) },
		"link":       func(path string) error { return os.Symlink("/dev/null", path) },
		"FIFO":       func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":  func(path string) error { return os.Mkdir(path, 0o700) },
		"text":       func(path string) error { return os.WriteFile(path, []byte("text"), 0o600) },
	}
	for what, make := range makers {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := makeDirectory(t)
			nodes := []*node{join(t, dir, 0), join(t, dir, 1)}
			path := filepath.Join(dir, name)
			require.NoError(t, make(path))
			before := fileNames(t, dir)
			var r row
			a := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, r.load)
			b := cacheOf(t, nodes[1].Bus, Options[string, int64]{}, r.load)
			awaitServing(t, a, b)
			assert.True(t, a.Stats().Peers[0].Shared)
			assert.True(t, b.Stats().Peers[0].Shared)
			assert.Equal(t, before, fileNames(t, dir))
			require.NoError(t, os.Remove(path))
		})
	}
}

func fileNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A node that has left has no slot any more, while its cache is still in use.
func TestSlotOfANodeThatHasLeft(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	var r row
	stays := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, r.load)
	c := cacheOf(t, nodes[1].Bus, Options[string, int64]{}, r.load)
	awaitServing(t, stays, c)
	assert.True(t, stays.group.table.Has(nodes[1].mesh.Self().Incarnation))
	require.NoError(t, nodes[1].mesh.Close())
	assert.False(t, stays.group.table.Has(nodes[1].mesh.Self().Incarnation))
	get(t, c, "k")
	r.value.Store(1)
	assert.EqualValues(t, 1, get(t, c, "k"), "nothing is stored")
}

// A node leaves while its update writes: what that has sent may still be committed, so the others do not store the key.
func TestNodeThatLeavesInAnUpdate(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	var r row
	stays := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, r.load)
	leaves := cacheOf(t, nodes[1].Bus, Options[string, int64]{}, r.load)
	awaitServing(t, stays, leaves)
	err := leaves.Update(limited(t), []string{"k"}, func(context.Context) error {
		get(t, stays, "k")
		bypassed := stays.Stats().Bypassed
		assert.Positive(t, bypassed)
		require.NoError(t, nodes[1].mesh.Close())
		get(t, stays, "k")
		assert.Greater(t, stays.Stats().Bypassed, bypassed, "it is not stored")
		r.value.Store(1)
		return nil
	})
	require.ErrorIs(t, err, net.ErrClosed)
	assert.EqualValues(t, 1, get(t, stays, "k"))
}

// Without a table there are messages, and the log of the node says so once.
func TestCacheWithoutATable(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	full := memoryOf(t)
	for i := range allSlots {
		share(t, full, rendezvous.Incarnation(i+1))
	}
	var log records
	nodes := []*node{joinLogged(t, dir, 0, &log), joinLogged(t, dir, 1, &log), join(t, dir, 2)}
	hand(t, nodes[2], full)
	var r row
	a := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, r.load)
	c := cacheOf(t, nodes[1].Bus, Options[string, int64]{}, r.load)
	awaitServing(t, a, c)
	assert.False(t, a.Stats().Peers[0].Shared)
	get(t, a, "k")
	r.value.Store(1)
	require.NoError(t, c.Invalidate(limited(t), "k"))
	assert.EqualValues(t, 1, get(t, a, "k"))
	assert.Equal(t, 2, log.warnings(), "one in each process")
}
