package versioned

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLateToALoad: a Get that has found nothing, and comes when the load that it would have joined has ended, gets what that has
// stored.
func TestLateToALoad(t *testing.T) {
	t.Parallel()
	c := storeOf(t, Config[string, int64]{}, func(context.Context, string) (int64, error) { return 1, nil })
	assert.EqualValues(t, 1, get(t, c, "k"))
	value, err := c.fetch(t.Context(), "k")
	require.NoError(t, err)
	assert.EqualValues(t, 1, value)
	assert.EqualValues(t, 1, c.Counts.Loads.Load())
}
