package invalidate

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Handlers append to the values of their Gets and write into them, also to a value that their own Get has loaded. No later Get
// sees that.
func TestClone(t *testing.T) {
	t.Parallel()
	want := []int{1, 2, 3}
	opts := Options[string, []int]{Clone: slices.Clone[[]int]}
	c := cacheOf(t, nil, opts, func(context.Context, string) ([]int, error) {
		return append(make([]int, 0, 8), want...), nil // has room for more
	})
	var handlers sync.WaitGroup
	for range 8 {
		handlers.Go(func() {
			for i := range 20 {
				v, err := c.Get(context.Background(), "k")
				if err != nil {
					t.Error(err)
					return
				}
				assert.Equal(t, want, v)
				assert.Equal(t, want, v[:3])
				v[0] = -i
				_ = append(v, i)
			}
		})
	}
	handlers.Wait()
	assert.Equal(t, want, get(t, c, "k"))
}

// Gets that wait for one load do not share its value.
func TestCloneOfAValueThatIsLoaded(t *testing.T) {
	t.Parallel()
	h := newHoldable()
	c := cacheOf(t, nil, Options[string, *int64]{Clone: func(v *int64) *int64 { return new(*v) }},
		func(ctx context.Context, key string) (*int64, error) {
			v, err := h.load(ctx, key)
			return &v, err
		})
	h.value.Store(7)
	h.hold.Store(true)
	values := make(chan *int64, 10)
	for range cap(values) {
		go func() { // ends with the load
			v, err := c.Get(context.Background(), "k")
			assert.NoError(t, err)
			values <- v
		}()
	}
	next(t, h.read)
	h.release <- none{}
	seen := make(map[*int64]bool)
	for range cap(values) {
		v := next(t, values)
		assert.EqualValues(t, 7, *v)
		assert.False(t, seen[v], "two have the same")
		seen[v] = true
		*v = 8
	}
	assert.EqualValues(t, 7, *get(t, c, "k"))
}

// Without Clone a value is shared, as the documentation says.
func TestValuesAreShared(t *testing.T) {
	t.Parallel()
	c := cacheOf(t, nil, Options[string, *int64]{}, func(context.Context, string) (*int64, error) { return new(int64), nil })
	*get(t, c, "k") = 1
	assert.EqualValues(t, 1, *get(t, c, "k"))
}

// An error comes without a value, and is stored without one: there may be nothing that can be cloned.
func TestCloneOfAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fail := errNoRow
		opts := Options[string, *int64]{
			Clone:     func(v *int64) *int64 { return new(*v) },
			Refresh:   time.Minute,
			ErrorLife: func(error) time.Duration { return time.Second },
		}
		c := cacheOf(t, nil, opts, func(context.Context, string) (*int64, error) { return new(int64), fail })
		defer c.Close()
		for range 2 {
			v, err := c.Get(t.Context(), "k")
			require.ErrorIs(t, err, errNoRow)
			assert.Nil(t, v)
		}
		time.Sleep(time.Second)
		fail = nil
		*get(t, c, "k") = 1
		time.Sleep(time.Minute)
		*get(t, c, "k") = 1
		synctest.Wait()
		assert.Zero(t, *get(t, c, "k"), "it was refreshed")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Get(ctx, "other")
		require.ErrorIs(t, err, context.Canceled)
	})
}
