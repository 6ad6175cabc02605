package invalidate

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/peer"
)

func share(t *testing.T, dir string, self peer.Incarnation) *board {
	t.Helper()
	b, err := shareBoard(dir, defaultName, 1, self)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.close() }) // it may be closed
	return b
}

// die does what the kernel does when a process is killed.
func (b *board) die() { b.seat.unlock(b.row) }

func boardFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.board*"))
	require.NoError(t, err)
	return files
}

func TestSharedBoard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := share(t, dir, 1), share(t, dir, 2)
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
	assert.Len(t, boardFiles(t, dir), 1)
	require.NoError(t, a.close())
	assert.Empty(t, boardFiles(t, dir), "the last one removes it")
}

// A process dies with its marks, and its row is free.
func TestRowOfTheDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, dead := share(t, dir, 1), share(t, dir, 2)
	dead.mark(7)
	assert.False(t, a.isFree(7), "it lives")
	dead.die()
	assert.False(t, a.has(2))
	assert.True(t, a.isFree(7))

	dead = share(t, dir, 3)
	dead.mark(7)
	dead.die()
	next := share(t, dir, 4)
	assert.Equal(t, dead.row, next.row)
	assert.True(t, next.isFree(7))
	assert.True(t, a.isFree(7))
	assert.False(t, a.has(3))
	assert.True(t, a.has(4))
}

// All died: the file is left, and used again.
func TestBoardOfTheDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dead := share(t, dir, 1)
	dead.drop(7)
	dead.mark(7)
	dead.die()
	b := share(t, dir, 2)
	assert.EqualValues(t, 1, b.place(7).version)
	assert.True(t, b.isFree(7))
}

// replaceByCopy puts a copy in place of the only board of a directory.
func replaceByCopy(t *testing.T, dir string) {
	t.Helper()
	path := boardFiles(t, dir)[0]
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

// Who has another file is not taken for one that shares the board, even if that was a copy of it.
func TestCopyOfABoard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	share(t, dir, 3) // has the first row, which b takes in the copy
	a := share(t, dir, 1)
	replaceByCopy(t, dir)
	b := share(t, dir, 2)
	assert.False(t, a.has(2))
	assert.False(t, b.has(1), "its row is there, and nobody has it")
	require.NoError(t, a.close())
	assert.Len(t, boardFiles(t, dir), 1, "it is not a's")
}

func TestCacheWithACopyOfABoard(t *testing.T) {
	t.Parallel()
	dir := openDirectory(t)
	share(t, dir.Path(), 1) // has the first row, which the writer takes in the copy
	var r row
	reader := cacheOf(t, join(t, dir, 0).Bus, Options[string, int64]{}, r.load)
	awaitServing(t, reader)
	replaceByCopy(t, dir.Path())
	writer := cacheOf(t, join(t, dir, 1).Bus, Options[string, int64]{}, r.load)
	eventually(t, func() bool { return writer.Stats().Serving && reader.Stats().Serving }, "they serve")
	get(t, reader, "k")
	r.value.Store(1)
	require.NoError(t, writer.Invalidate(limited(t), "k"))
	assert.EqualValues(t, 1, get(t, reader, "k"))
}

func TestFilesThatAreNoBoard(t *testing.T) {
	t.Parallel()
	good := t.TempDir()
	share(t, good, 1)
	content, err := os.ReadFile(boardFiles(t, good)[0])
	require.NoError(t, err)
	name := filepath.Base(boardFiles(t, good)[0])
	tests := map[string]struct {
		make func(path string) error
		want string
	}{
		"directory": {func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
		"link":      {func(path string) error { return os.Symlink(t.TempDir(), path) }, "symbolic links"},
		"text":      {func(path string) error { return os.WriteFile(path, []byte("something else"), 0o600) }, "rm "},
		"truncated": {func(path string) error { return os.WriteFile(path, content[:len(content)-1], 0o600) }, "rm "},
		"longer":    {func(path string) error { return os.WriteFile(path, append(content, 0), 0o600) }, "rm "},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			require.NoError(t, test.make(path))
			_, err := shareBoard(dir, defaultName, 1, 1)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, test.want)
		})
	}
}

// Who was killed while it made the file has left a part of it.
func TestBoardThatWasNotFinished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := share(t, dir, 1)
	require.NoError(t, b.close())
	for _, size := range []int{0, 5, 16, 1000} {
		require.NoError(t, os.WriteFile(b.seat.path, make([]byte, size), 0o600))
		b := share(t, dir, 1)
		b.drop(7)
		require.NoError(t, b.close())
	}
}

func TestBoardWithoutARowLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range boardRows {
		share(t, dir, peer.Incarnation(i+1))
	}
	_, err := shareBoard(dir, defaultName, 1, 1000)
	require.ErrorContains(t, err, "512 processes have "+boardFiles(t, dir)[0])
}

// Somebody removes the file. Those that have it share it still, and those that come share another one: between the two go
// messages.
func TestBoardThatWasRemoved(t *testing.T) {
	t.Parallel()
	dir := openDirectory(t)
	var r row
	caches := make([]*Cache[string, int64], 4)
	for i := range caches {
		if i == 2 {
			require.NoError(t, os.Remove(boardFiles(t, dir.Path())[0]))
		}
		caches[i] = cacheOf(t, join(t, dir, i).Bus, Options[string, int64]{}, r.load)
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

// A node that has left is in nobody's way, while its cache is still in use: not in the directory's, either.
func TestBoardOfANodeThatHasLeft(t *testing.T) {
	t.Parallel()
	dir := openDirectory(t)
	n := join(t, dir, 0)
	var r row
	c := cacheOf(t, n.Bus, Options[string, int64]{}, r.load)
	awaitServing(t, c)
	assert.NotEmpty(t, boardFiles(t, dir.Path()))
	require.NoError(t, n.mesh.Close())
	assert.Empty(t, boardFiles(t, dir.Path()))
	get(t, c, "k")
	r.value.Store(1)
	assert.EqualValues(t, 1, get(t, c, "k"), "nothing is stored")
}

// A node leaves while its update writes: nobody waits for that any more, and what others have loaded before is void when it
// has ended.
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
		assert.Equal(t, bypassed, stays.Stats().Bypassed, "it is stored")
		r.value.Store(1)
		return nil
	})
	require.ErrorIs(t, err, net.ErrClosed)
	assert.EqualValues(t, 1, get(t, stays, "k"))
}

// Without a board there are messages.
func TestCacheWithoutABoard(t *testing.T) {
	t.Parallel()
	dir := openDirectory(t)
	b := share(t, dir.Path(), 1)
	require.NoError(t, b.close())
	require.NoError(t, os.WriteFile(b.seat.path, []byte("something else"), 0o600))
	var r row
	a := cacheOf(t, join(t, dir, 0).Bus, Options[string, int64]{}, r.load)
	c := cacheOf(t, join(t, dir, 1).Bus, Options[string, int64]{}, r.load)
	awaitServing(t, a, c)
	assert.False(t, a.Stats().Peers[0].Shared)
	get(t, a, "k")
	r.value.Store(1)
	require.NoError(t, c.Invalidate(limited(t), "k"))
	assert.EqualValues(t, 1, get(t, a, "k"))
}

// Nobody has a board that those who come do not find.
func TestBoardThatIsOpenedAndClosedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			for range 100 {
				b, err := shareBoard(dir, defaultName, 1, peer.Incarnation(i+1))
				if err != nil {
					t.Error(err)
					return
				}
				assert.True(t, b.seat.inPlace())
				assert.NoError(t, b.close())
			}
		})
	}
	users.Wait()
	assert.Empty(t, boardFiles(t, dir))
}

// The memory stays while somebody can use it, and no longer.
func TestMemoryOfABoardIsGivenBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	isMapped := func() bool {
		maps, err := os.ReadFile("/proc/self/maps")
		require.NoError(t, err)
		return strings.Contains(string(maps), dir)
	}
	b, err := shareBoard(dir, defaultName, 1, 1)
	require.NoError(t, err)
	require.NoError(t, b.close())
	runtime.GC()
	assert.True(t, isMapped())
	b.drop(7)
	eventually(t, func() bool {
		runtime.GC()
		return !isMapped()
	}, "it is unmapped")
}
