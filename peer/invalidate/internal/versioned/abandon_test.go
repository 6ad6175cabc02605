package versioned

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errDriver is a driver's error for a canceled query.
var errDriver = errors.New("the query was canceled")

// One client leaves, and its load ends with an error of its context, or with a value all the same. The next ones get neither.
func TestAbandonedLoad(t *testing.T) {
	t.Parallel()
	ends := map[string]func(ctx context.Context) (int64, error){
		"its error":          func(ctx context.Context) (int64, error) { return 0, ctx.Err() },
		"its error, wrapped": func(ctx context.Context) (int64, error) { return 0, fmt.Errorf("select: %w", ctx.Err()) },
		"another error":      func(context.Context) (int64, error) { return 0, errDriver },
		"a value":            func(context.Context) (int64, error) { return 1, nil },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := make(chan struct{}, 1)
			leaves := true
			config := Config[string, int64]{ErrorLife: func(error) time.Duration { return time.Hour }}
			c := storeOf(t, config, func(ctx context.Context, _ string) (int64, error) {
				if !leaves {
					return 2, nil
				}
				began <- struct{}{}
				<-ctx.Done()
				return end(ctx)
			})
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() { // ends with ctx
				_, err := c.Get(ctx, "k")
				failed <- err
			}()
			next(t, began)
			cancel()
			require.ErrorIs(t, next(t, failed), context.Canceled)
			awaitLoads(t, c)
			leaves = false
			for range 3 {
				assert.EqualValues(t, 2, get(t, c, "k"))
			}
			assert.EqualValues(t, 2, c.Counts.Loads.Load(), "the second one is stored")
		})
	}
}

// awaitLoads waits until no load runs.
func awaitLoads[K comparable, V any](t *testing.T, c *Store[K, V]) {
	t.Helper()
	eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.alive) == 0
	}, "no load runs")
}

// A loader uses the context of the request that it was made for, and not its own. Others wait for the same load when that
// client leaves.
func TestLoaderThatReturnsTheErrorOfACaller(t *testing.T) {
	t.Parallel()
	withCause := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		return ctx, func() { cancel(errDriver) }
	}
	past := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		return timedOut{ctx}, func() { cancel(nil) }
	}
	contexts := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"canceled": context.WithCancel, "canceled with a cause": withCause, "timed out": past,
	}
	for name, make := range contexts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loaderOfACaller(t, make)
		})
	}
}

// timedOut is a context that ends by its deadline, at a time that a test chooses.
type timedOut struct{ context.Context }

func (t timedOut) Err() error {
	if t.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

func loaderOfACaller(t *testing.T, contextOf func(context.Context) (context.Context, context.CancelFunc)) {
	t.Helper()
	caller, leave := contextOf(t.Context())
	defer leave()
	began, release := make(chan struct{}, 1), make(chan struct{})
	config := Config[string, int64]{ErrorLife: func(error) time.Duration { return time.Hour }}
	c := storeOf(t, config, func(context.Context, string) (int64, error) {
		if caller.Err() == nil {
			began <- struct{}{}
			<-release
			return 0, fmt.Errorf("%w: %w", caller.Err(), context.Cause(caller))
		}
		return 2, nil
	})
	failed := make(chan error, 2)
	for _, ctx := range []context.Context{caller, context.Background()} {
		go func() { // ends with the load
			_, err := c.Get(ctx, "k")
			failed <- err
		}()
		if ctx == caller {
			next(t, began)
		}
	}
	eventually(t, func() bool { return c.Counts.Misses.Load() == 2 }, "both wait")
	leave()
	require.Error(t, next(t, failed))
	close(release)
	next(t, failed) // it has joined that load, or began another one
	awaitLoads(t, c)
	for range 3 {
		assert.EqualValues(t, 2, get(t, c, "k"))
	}
}
