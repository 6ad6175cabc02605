package versioned

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// memoryOf returns a memory with an empty table, as long as the test runs.
func memoryOf(t *testing.T) *os.File {
	t.Helper()
	memory, err := Create("test", 1)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, memory.Close()) })
	return memory
}

// copyOf returns another memory with the same content.
func copyOf(t *testing.T, memory *os.File) *os.File {
	t.Helper()
	other := memoryOf(t)
	content := make([]byte, tableSize(minClasses))
	_, err := memory.ReadAt(content, 0)
	require.NoError(t, err)
	_, err = other.WriteAt(content, 0)
	require.NoError(t, err)
	return other
}

func share(t *testing.T, memory *os.File, self rendezvous.Incarnation) *Table {
	t.Helper()
	file, err := reopen(memory)
	require.NoError(t, err)
	b, err := Open(file, self, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // it may be closed
	return b
}

// shareFor takes a free slot, for a process with that commit timeout.
func shareFor(t *testing.T, memory *os.File, self rendezvous.Incarnation, commit time.Duration) *Table {
	t.Helper()
	file, err := reopen(memory)
	require.NoError(t, err)
	b, err := Open(file, self, commit)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // it may be closed
	return b
}

// die does what the kernel does when a process is killed.
func (b *Table) die() { b.locks.unlock(b.slot) }

func TestSharedTable(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, b := share(t, memory, 1), share(t, memory, 2)
	assert.True(t, a.Has(2))
	assert.True(t, b.Has(1))
	assert.False(t, a.Has(3))
	p := b.place(7)
	a.drop(7)
	assert.False(t, b.holds(p))
	a.mark(7)
	b.mark(7)
	a.unmark(7)
	assert.False(t, a.isFree(7), "b's is open")
	require.NoError(t, b.Close())
	assert.True(t, a.isFree(7), "b is gone")
	assert.False(t, a.Has(2))
	assert.False(t, b.holds(p), "it can be read after close")
	require.NoError(t, a.Close())
}

// A process dies with its marks, and its slot is free.
func TestSlotOfTheDead(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, dead := share(t, memory, 1), share(t, memory, 2)
	dead.mark(7)
	assert.False(t, a.isFree(7), "it lives")
	dead.die()
	assert.False(t, a.Has(2))
	assert.True(t, a.isFree(7))

	dead = share(t, memory, 3)
	dead.mark(7)
	dead.die()
	next := share(t, memory, 4)
	assert.Equal(t, dead.slot, next.slot)
	assert.True(t, next.isFree(7))
	assert.True(t, a.isFree(7))
	assert.False(t, a.Has(3))
	assert.True(t, a.Has(4))
}

// The marks and the slot of a process that has ended in an update stay for the commit timeout.
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

	for range 2 { // the slot is that of another process the second time
		dead = share(t, memory, 4)
		dead.mark(7)
		assert.False(t, a.isFree(7))
		dead.die()
		assert.False(t, a.isFree(7))
		next := shareFor(t, memory, 5, time.Hour)
		assert.NotEqual(t, dead.slot, next.slot, "it is not taken by another process")
		assert.False(t, next.isFree(7))
		require.NoError(t, next.Close())
		a.mu.Lock()
		a.ends[dead.slot] = end{turn: a.ends[dead.slot].turn, until: clock.Now()}
		a.mu.Unlock()
		a.Observe()
		assert.True(t, a.isFree(7))
		last := share(t, memory, 6)
		assert.Equal(t, dead.slot, last.slot)
		require.NoError(t, last.Close())
	}
}

// A process leaves while an update is open: it is gone for the others, and its marks stay.
func TestMarksOfAProcessThatHasLeft(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, leaves := shareFor(t, memory, 1, time.Hour), share(t, memory, 2)
	leaves.mark(7)
	require.NoError(t, leaves.Close())
	assert.False(t, a.Has(2))
	assert.False(t, a.isFree(7))
	leaves.unmark(7)
	assert.False(t, a.isFree(7))
}

// A slot is locked for a moment while it is swept. When the cache is closed in this moment, the lock goes with it, although
// the table is mapped still.
func TestSlotThatIsSweptWhileTheCacheCloses(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	a, b, dead := share(t, memory, 1), share(t, memory, 2), share(t, memory, 3)
	dead.die()
	free, err := a.locks.lock(dead.slot)
	require.NoError(t, err)
	require.True(t, free)
	assert.True(t, b.locks.isTaken(dead.slot))
	require.NoError(t, a.Close())
	assert.False(t, b.locks.isTaken(dead.slot))
	assert.False(t, b.locks.isTaken(a.slot))
	runtime.KeepAlive(a)
}

// A copy of a memory is another one: a process that has the copy does not share the table.
func TestCopyOfATable(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	share(t, memory, 3) // has the first slot, which b takes in the copy
	a := share(t, memory, 1)
	b := share(t, copyOf(t, memory), 2)
	assert.False(t, a.Has(2))
	assert.False(t, b.Has(1), "its slot is there, and not locked")
}

// A file from another process is checked: nothing that could be truncated is mapped.
func TestFilesThatAreNoMemory(t *testing.T) {
	t.Parallel()
	content := make([]byte, tableSize(minClasses))
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
		"small base":         written(emptyTable(minClasses, 1), memorySeals),
	}
	for what, open := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := Open(open(t), 1, 0)
			assert.Error(t, err)
		})
	}
}

func TestTableWithoutASlotLeft(t *testing.T) {
	t.Parallel()
	memory := memoryOf(t)
	for i := range maxSlots {
		share(t, memory, rendezvous.Incarnation(i+1))
	}
	file, err := reopen(memory)
	require.NoError(t, err)
	_, err = Open(file, 1000, 0)
	require.ErrorContains(t, err, "512 processes")
}

// isMapped reports whether this process has the memory mapped.
func isMapped(t *testing.T, inode uint64) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Contains(string(maps), fmt.Sprintf(" %d ", inode))
}

// The memory stays while a process can use it, and no longer.
func TestMemoryOfATableIsGivenBack(t *testing.T) {
	t.Parallel()
	memory, err := Create("test", 1)
	require.NoError(t, err)
	info, err := memory.Stat()
	require.NoError(t, err)
	inode := info.Sys().(*syscall.Stat_t).Ino
	b, err := Open(memory, 1, 0)
	require.NoError(t, err)
	require.NoError(t, b.Close())
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
	for _, file := range []*os.File{b.locks.memory, b.locks.file} {
		flags, err := withDescriptor(file, func(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_GETFD, 0) })
		require.NoError(t, err)
		assert.Equal(t, unix.FD_CLOEXEC, flags&unix.FD_CLOEXEC)
	}
}
