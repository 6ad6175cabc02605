package versioned

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClassesOfATable(t *testing.T) {
	t.Parallel()
	for entries, want := range map[int]uint64{
		1: minClasses, 10_000: minClasses, 16_384: minClasses, 16_385: 2 * minClasses, 1 << 20: maxClasses, 1 << 40: maxClasses,
	} {
		assert.Equal(t, want, classesFor(entries), "%d entries", entries)
	}
}

func TestDropsOnATable(t *testing.T) {
	t.Parallel()
	b := NewTable(1)
	p, other := b.place(b.class(1<<40|7)), b.place(8)
	assert.EqualValues(t, 7, p.class)
	b.drop(7)
	assert.False(t, b.holds(p))
	assert.True(t, b.holds(other))
	b.dropTag(8)
	assert.False(t, b.holds(other))
	assert.EqualValues(t, 1, b.tagged())
	b.dropAll()
	assert.EqualValues(t, 1, b.all())
}

// Several updates may be open of keys that have the mark in common.
func TestMarksOnATable(t *testing.T) {
	t.Parallel()
	b := NewTable(1)
	b.mark(7)
	b.mark(7 + groups)
	assert.False(t, b.isFree(7))
	assert.True(t, b.isFree(8))
	b.unmark(7)
	assert.False(t, b.isFree(7))
	b.unmark(7 + groups)
	assert.True(t, b.isFree(7))
	b.mark(7)
	require.NoError(t, b.Close())
	b.unmark(7) // of an update that has not ended by then
	b.mark(7)
}
