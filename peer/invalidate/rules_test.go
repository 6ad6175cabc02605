package invalidate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// What happens without a rule, for those that the checker of many processes does not need: TestCoherenceWithoutARule has
// the others.
func TestWithoutRuleOfLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r row
		c := cacheOf(t, nil, Options[string, int64]{Life: time.Minute, broken: rules{life: true}}, r.load)
		defer c.Close()
		get(t, c, "k")
		r.value.Store(1)
		time.Sleep(time.Minute + time.Second) // before its memory is given back
		assert.EqualValues(t, 0, get(t, c, "k"), "it is stale")
	})
}

func TestWithoutRuleOfVersions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stored := versioned{2, 20}
		opts := Options[string, versioned]{
			Refresh: time.Second, Version: func(v versioned) uint64 { return uint64(v.version) },
			broken: rules{version: true},
		}
		c := cacheOf(t, nil, opts, func(context.Context, string) (versioned, error) { return stored, nil })
		defer c.Close()
		get(t, c, "k")
		stored = versioned{1, 10}
		time.Sleep(time.Second)
		get(t, c, "k")
		synctest.Wait()
		assert.Equal(t, 10, get(t, c, "k").value, "it went back in time")
	})
}

func TestStaleSetWithoutTokens(t *testing.T) {
	t.Parallel()
	h := newHoldable()
	c := cacheOf(t, nil, Options[string, int64]{broken: rules{token: true}}, h.load)
	assert.EqualValues(t, 1, staleSet(t, h, c, c), "it is stale")
}
