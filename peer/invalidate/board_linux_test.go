package invalidate

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// memoryOf returns a memory with an empty board, as long as the test runs.
func memoryOf(t *testing.T) *os.File {
	t.Helper()
	memory, err := createMemory("test", 1)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, memory.Close()) })
	return memory
}

// copyOf returns another memory with the same content.
func copyOf(t *testing.T, memory *os.File) *os.File {
	t.Helper()
	other := memoryOf(t)
	content := make([]byte, boardSize(minClasses))
	_, err := memory.ReadAt(content, 0)
	require.NoError(t, err)
	_, err = other.WriteAt(content, 0)
	require.NoError(t, err)
	return other
}

func share(t *testing.T, memory *os.File, self rendezvous.Incarnation) *board {
	t.Helper()
	file, err := reopen(memory)
	require.NoError(t, err)
	b, err := sit(file, self, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.close() }) // it may be closed
	return b
}

// shareFor takes a row that is free, as a process for which a write may take so long.
func shareFor(t *testing.T, memory *os.File, self rendezvous.Incarnation, commit time.Duration) *board {
	t.Helper()
	file, err := reopen(memory)
	require.NoError(t, err)
	b, err := sit(file, self, commit)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.close() }) // it may be closed
	return b
}

// die does what the kernel does when a process is killed.
func (b *board) die() { b.seat.unlock(b.row) }

func TestSharedBoard(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, b := share(t, memory, 1), share(t, memory, 2)
	assert.True(t, a.has(2))
	assert.True(t, b.has(1))
	assert.False(t, a.has(3))
	p := b.place(7)
	a.drop(7)
	assert.False(t, b.holds(p))
	a.mark(7)
	b.mark(7)
	a.unmark(7)
	assert.False(t, a.isFree(7), "b's is open")
	require.NoError(t, b.close())
	assert.True(t, a.isFree(7), "b is gone")
	assert.False(t, a.has(2))
	assert.False(t, b.holds(p), "it can be read after close")
	require.NoError(t, a.close())
}

// A process dies with its marks, and its row is free.
func TestRowOfTheDead(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, dead := share(t, memory, 1), share(t, memory, 2)
	dead.mark(7)
	assert.False(t, a.isFree(7), "it lives")
	dead.die()
	assert.False(t, a.has(2))
	assert.True(t, a.isFree(7))

	dead = share(t, memory, 3)
	dead.mark(7)
	dead.die()
	next := share(t, memory, 4)
	assert.Equal(t, dead.row, next.row)
	assert.True(t, next.isFree(7))
	assert.True(t, a.isFree(7))
	assert.False(t, a.has(3))
	assert.True(t, a.has(4))
}

// The marks of a process that has ended in an update stay for the time that what it has sent may take, and so does its row.
func TestMarksOfTheDead(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, b, dead := share(t, memory, 1), share(t, memory, 2), share(t, memory, 3)
	a.commit, b.commit = time.Hour, time.Hour
	dead.mark(7)
	dead.die()
	assert.False(t, a.isFree(7))
	assert.True(t, a.isFree(8))
	assert.InDelta(t, time.Hour, a.settles(), float64(time.Minute))
	b.commit = 0
	assert.True(t, b.isFree(7), "its time is over for one that has seen it earlier")
	assert.True(t, a.isFree(7), "so it is for all")
	assert.Zero(t, a.settles())

	for range 2 { // the row is that of another process the second time
		dead = share(t, memory, 4)
		dead.mark(7)
		assert.False(t, a.isFree(7))
		dead.die()
		assert.False(t, a.isFree(7))
		next := shareFor(t, memory, 5, time.Hour)
		assert.NotEqual(t, dead.row, next.row, "it is not taken by another process")
		assert.False(t, next.isFree(7))
		require.NoError(t, next.close())
		a.mu.Lock()
		a.ends[dead.row] = end{turn: a.ends[dead.row].turn, until: now()}
		a.mu.Unlock()
		a.observe()
		assert.True(t, a.isFree(7))
		last := share(t, memory, 6)
		assert.Equal(t, dead.row, last.row)
		require.NoError(t, last.close())
	}
}

// A process leaves while an update is open: it is gone for the others, and its marks stay.
func TestMarksOfAProcessThatHasLeft(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, leaves := shareFor(t, memory, 1, time.Hour), share(t, memory, 2)
	leaves.mark(7)
	require.NoError(t, leaves.close())
	assert.False(t, a.has(2))
	assert.False(t, a.isFree(7))
	leaves.unmark(7)
	assert.False(t, a.isFree(7))
}

// A row is locked for a moment while it is swept. When the cache is closed in this moment, the lock goes with it, although
// the board is mapped still.
func TestRowThatIsSweptWhileTheCacheCloses(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, b, dead := share(t, memory, 1), share(t, memory, 2), share(t, memory, 3)
	dead.die()
	free, err := a.seat.lock(dead.row)
	require.NoError(t, err)
	require.True(t, free)
	assert.True(t, b.seat.isTaken(dead.row))
	require.NoError(t, a.close())
	assert.False(t, b.seat.isTaken(dead.row))
	assert.False(t, b.seat.isTaken(a.row))
	runtime.KeepAlive(a)
}

// A copy of a memory is another one: a process that has the copy does not share the board.
func TestCopyOfABoard(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	share(t, memory, 3) // has the first row, which b takes in the copy
	a := share(t, memory, 1)
	b := share(t, copyOf(t, memory), 2)
	assert.False(t, a.has(2))
	assert.False(t, b.has(1), "its row is there, and not locked")
}

func TestCacheWithACopyOfABoard(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	nodes := []*node{join(t, dir, 0), join(t, dir, 1), join(t, dir, 2)}
	memory := memoryOf(t)
	share(t, memory, 1) // has the first row, which the writer takes in the copy
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
	require.NoError(t, c.group.board.seat.host.close())
}

// hand makes a node, which has no cache, give a memory to those that ask.
func hand(t *testing.T, n *node, memory *os.File) *host {
	t.Helper()
	h, err := newHost(n.mesh, n.Logger(), defaultName)
	require.NoError(t, err)
	h.memory, h.isDecided = memory, true
	h.start()
	t.Cleanup(func() { assert.NoError(t, h.close()) })
	return h
}

// What comes from another process is looked at: nothing that could be truncated is mapped.
func TestFilesThatAreNoMemory(t *testing.T) {
	t.Parallel()
	content := make([]byte, boardSize(minClasses))
	_, err := memoryOf(t).ReadAt(content, 0)
	require.NoError(t, err)
	written := func(content []byte, seals int) func(t *testing.T) *os.File {
		return func(t *testing.T) *os.File {
			t.Helper()
			file, err := memfd("test")
			require.NoError(t, err)
			_, err = file.Write(content)
			require.NoError(t, err)
			_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals)
			require.NoError(t, err)
			return file
		}
	}
	tests := map[string]func(t *testing.T) *os.File{
		"file": func(t *testing.T) *os.File {
			t.Helper()
			file, err := os.Create(filepath.Join(t.TempDir(), "file"))
			require.NoError(t, err)
			_, err = file.Write(content)
			require.NoError(t, err)
			return file
		},
		"directory": func(t *testing.T) *os.File {
			t.Helper()
			file, err := os.Open(t.TempDir())
			require.NoError(t, err)
			return file
		},
		"pipe": func(t *testing.T) *os.File {
			t.Helper()
			r, w, err := os.Pipe()
			require.NoError(t, err)
			require.NoError(t, w.Close())
			return r
		},
		"can shrink":         written(content, unix.F_SEAL_GROW|unix.F_SEAL_SEAL),
		"can grow":           written(content, unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL),
		"cannot be written":  written(content, memorySeals|unix.F_SEAL_WRITE),
		"not sealed":         written(content, 0),
		"something else":     written(make([]byte, len(content)), memorySeals),
		"too short":          written(content[:len(content)-1], memorySeals),
		"longer":             written(append(slices.Clip(content), 0), memorySeals),
		"nothing":            written(nil, memorySeals),
		"half of the header": written(content[:wordSize], memorySeals),
		"small base":         written(emptyBoard(minClasses, 1), memorySeals),
	}
	for what, open := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := sit(open(t), 1, 0)
			assert.Error(t, err)
		})
	}
}

func TestBoardWithoutARowLeft(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	for i := range boardRows {
		share(t, memory, rendezvous.Incarnation(i+1))
	}
	file, err := reopen(memory)
	require.NoError(t, err)
	_, err = sit(file, 1000, 0)
	require.ErrorContains(t, err, "512 processes")
}

// All processes that make the cache at the same time get one memory.
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
	defer b.close()
	defer higher.close()
	assert.True(t, b.has(nodes[0].mesh.Self().Incarnation))
	assert.True(t, lower.group.board.has(nodes[1].mesh.Self().Incarnation))
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
				assert.True(t, c.group.board.has(nodes[0].mesh.Self().Incarnation))
				assert.NoError(t, c.Close())
			}
		})
	}
	users.Wait()
	awaitServing(t, stays)
}

// Two groups that have a memory each tell each other by messages.
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

// A node that has left has no row any more, while its cache is still in use.
func TestBoardOfANodeThatHasLeft(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	var r row
	stays := cacheOf(t, nodes[0].Bus, Options[string, int64]{}, r.load)
	c := cacheOf(t, nodes[1].Bus, Options[string, int64]{}, r.load)
	awaitServing(t, stays, c)
	assert.True(t, stays.group.board.has(nodes[1].mesh.Self().Incarnation))
	require.NoError(t, nodes[1].mesh.Close())
	assert.False(t, stays.group.board.has(nodes[1].mesh.Self().Incarnation))
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

// Without a board there are messages, and the log of the node says so once.
func TestCacheWithoutABoard(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	full := memoryOf(t)
	for i := range boardRows {
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

// isMapped reports whether this process has the memory mapped.
func isMapped(t *testing.T, inode uint64) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Contains(string(maps), fmt.Sprintf(" %d ", inode))
}

// The memory stays while somebody can use it, and no longer.
func TestMemoryOfABoardIsGivenBack(t *testing.T) {
	t.Parallel()
	memory, err := createMemory("test", 1)
	require.NoError(t, err)
	info, err := memory.Stat()
	require.NoError(t, err)
	inode := info.Sys().(*syscall.Stat_t).Ino
	b, err := sit(memory, 1, 0)
	require.NoError(t, err)
	require.NoError(t, b.close())
	runtime.GC()
	assert.True(t, isMapped(t, inode))
	b.drop(7)
	eventually(t, func() bool {
		runtime.GC()
		return !isMapped(t, inode)
	}, "it is unmapped")
}

// No descriptor of a cache goes to a program that the process starts.
func TestMemoryIsNotInherited(t *testing.T) {
	t.Parallel()
	b := share(t, memoryOf(t), 1)
	for _, file := range []*os.File{b.seat.memory, b.seat.locks} {
		flags, err := withDescriptor(file, func(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_GETFD, 0) })
		require.NoError(t, err)
		assert.Equal(t, unix.FD_CLOEXEC, flags&unix.FD_CLOEXEC)
	}
}
