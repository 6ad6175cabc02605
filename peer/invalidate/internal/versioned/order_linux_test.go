package versioned

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The order in which the words of a table are read and written, see the package documentation. Without these rules only the order
// of two instructions is wrong, for some nanoseconds: so a test does not wait until two processes meet there. It protects the
// memory of the second access, and checks that the first one has happened by then.

// guarded is a table in memory whose parts can be protected.
type guarded struct {
	*Table
	memory []byte
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	const classes = minClasses
	memory, err := unix.Mmap(-1, 0, int(wordVersion+classes)*wordSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, unix.Munmap(memory)) })
	words := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&memory[0])), len(memory)/wordSize)
	return &guarded{tableOf(words, classes, 0), memory}
}

// until calls f, which fails as soon as it uses the page of a word.
func (g *guarded) until(t *testing.T, word uint64, f func()) {
	t.Helper()
	size := uint64(unix.Getpagesize())
	page := g.memory[word*wordSize/size*size:][:size]
	require.NoError(t, unix.Mprotect(page, unix.PROT_NONE))
	fails := func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		f()
	}
	assert.Panics(t, fails, "the word is not used")
	require.NoError(t, unix.Mprotect(page, unix.PROT_READ|unix.PROT_WRITE))
}

// Classes whose versions are not in the page of any mark, nor in that of one another.
const (
	orderClass    = 3 * 512
	orderTagClass = 5 * 512
)

func newOrderStore(t *testing.T, load func(context.Context, string) (int64, error)) (*guarded, *Store[string, int64]) {
	t.Helper()
	g := newGuarded(t)
	s := storeIn(t, g.Table, Config[string, int64]{Hash: func(string) uint64 { return orderClass }}, load)
	return g, s
}

// The mark of an update is set before the counter is raised: a load that sees the counter also sees the mark.
func TestOrderOfAnUpdate(t *testing.T) {
	g, s := newOrderStore(t, nil)
	g.until(t, wordVersion+orderClass, func() { s.Block("k") })
	assert.False(t, g.isFree(orderClass), "a writer that stops here blocks the key")

	g, s = newOrderStore(t, nil)
	word, _ := markOf(orderClass%groups, 0)
	g.until(t, word, func() { s.Block("k") })
	assert.Zero(t, g.place(orderClass).version)
}

// A load notes the counter before it looks for marks, and both before it calls the loader.
func TestOrderOfALoad(t *testing.T) {
	g, s := newOrderStore(t, func(context.Context, string) (int64, error) {
		t.Error("loaded")
		return 0, nil
	})
	g.drop(orderClass)
	c := newCall[int64](t.Context(), orderClass)
	word, _ := markOf(orderClass%groups, 0)
	g.until(t, word, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.beginLocked("k", c)
	})
	assert.EqualValues(t, 1, c.token.key.version)
	c.cancel()
}

// The drop of a tag is counted first, and the tag's counter raised afterwards.
func TestOrderOfADroppedTag(t *testing.T) {
	g, s := newOrderStore(t, nil)
	name := tagInClass(t, s)
	g.until(t, wordVersion+s.tagClass(name), func() { s.DropTag(name) })
	assert.EqualValues(t, 1, g.tagged())
}

// tagInClass returns a tag whose counter is not in the page of the marks.
func tagInClass(t *testing.T, s *Store[string, int64]) string {
	t.Helper()
	for _, name := range []string{"a", "b", "c", "d"} {
		if s.tagClass(name) >= orderTagClass {
			return name
		}
	}
	require.Fail(t, "no tag")
	return ""
}

// A load that ends notes the counters of its tags first, and looks afterwards at how many tags were dropped.
func TestOrderOfTagsThatAreStored(t *testing.T) {
	g, s := newOrderStore(t, nil)
	it := &item[int64]{stamp: s.stamp(orderClass)}
	g.until(t, wordTagged, func() { s.tag(it, []string{tagInClass(t, s)}) })
	assert.Len(t, it.tags, 1)
}
