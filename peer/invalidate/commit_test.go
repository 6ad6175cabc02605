package invalidate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// isStored reports whether Get finds a value in the cache, after one call that may load it.
func isStored[K comparable, V any](t *testing.T, c *Cache[K, V], key K) bool {
	t.Helper()
	get(t, c, key)
	loads := c.Stats().Loads
	get(t, c, key)
	return c.Stats().Loads == loads
}

// The server commits what it was sent after the commit has failed here.
func TestCommitWhoseOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	commits := map[string]func(context.Context) error{
		"an error": func(context.Context) error { return errors.New("broken pipe") },
		"a deadline": func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			<-ctx.Done()
			return ctx.Err()
		},
		"a panic":  func(context.Context) error { panic("boom") },
		"its exit": func(context.Context) error { runtime.Goexit(); return nil },
	}
	for name, commit := range commits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r row
				c := cacheOf(t, nil, Options[string, int64]{Life: time.Hour, CommitTimeout: time.Minute}, r.load)
				defer c.Close()
				get(t, c, "k")
				get(t, c, "other")
				failsToCommit(c, commit)
				time.Sleep(time.Minute - time.Second)
				assert.EqualValues(t, 0, get(t, c, "k"))
				assert.True(t, isStored(t, c, "other"))
				r.value.Store(1) // the server commits
				assert.EqualValues(t, 1, get(t, c, "k"))
				assert.False(t, isStored(t, c, "k"))
				time.Sleep(2 * time.Second)
				assert.True(t, isStored(t, c, "k"))
			})
		})
	}
}

// failsToCommit calls Update with a commit that does not return, perhaps.
func failsToCommit(c *Cache[string, int64], commit func(context.Context) error) {
	done := make(chan none)
	go func() { // ends with Update
		defer close(done)
		defer func() { _ = recover() }()
		_ = c.Update(context.Background(), []string{"k", "k"}, commit)
	}()
	<-done
}

func TestDefaultOfCommitTimeout(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]time.Duration{0: time.Minute, -1: 0, time.Second: time.Second, 1 << 62: maxCommit} {
		assert.Equal(t, want, Options[int, int]{CommitTimeout: timeout}.withDefaults(nil).CommitTimeout)
	}
}

// The database has answered that nothing was committed: nothing is waited for.
func TestCommitThatWasRolledBack(t *testing.T) {
	t.Parallel()
	var r row
	c := cacheOf(t, nil, Options[string, int64]{}, r.load)
	reason := errors.New("the price is negative")
	err := c.Update(t.Context(), []string{"k"}, func(context.Context) error { return fmt.Errorf("%w: %w", ErrNotCommitted, reason) })
	require.ErrorIs(t, err, reason)
	require.ErrorIs(t, err, ErrNotCommitted)
	assert.True(t, isStored(t, c, "k"))
	require.ErrorIs(t, &UnconfirmedError{NotCommitted: true}, ErrNotCommitted)
	require.NotErrorIs(t, &UnconfirmedError{}, ErrNotCommitted)
}

// Updates fail again and again: the time counts from the last one, and an update that succeeds does not end it.
func TestCommitsThatFailAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r row
		c := cacheOf(t, nil, Options[string, int64]{Life: time.Hour, CommitTimeout: time.Minute}, r.load)
		defer c.Close()
		fail := func(context.Context) error { return errNoRow }
		for range 5 {
			failsToCommit(c, fail)
			time.Sleep(50 * time.Second)
			assert.False(t, isStored(t, c, "k"))
		}
		require.NoError(t, c.Update(t.Context(), []string{"k"}, func(context.Context) error { return nil }))
		assert.False(t, isStored(t, c, "k"))
		time.Sleep(20 * time.Second)
		assert.True(t, isStored(t, c, "k"))
		failsToCommit(c, fail) // and Close ends that
	})
}

// All processes keep the key blocked, also later ones, and at last it is stored again.
func TestCommitThatFailsBetweenNodes(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, w way) {
		t.Helper()
		dir := makeDirectory(t)
		var r row
		opts := Options[string, int64]{CommitTimeout: time.Second}
		caches := make([]*Cache[string, int64], 3)
		for i := range 2 {
			caches[i] = cacheOf(t, join(t, dir, i).Bus, opts.in(w, i), r.load)
		}
		awaitServing(t, caches[:2]...)
		require.ErrorIs(t, caches[0].Update(limited(t), []string{"k"}, func(context.Context) error { return errNoRow }), errNoRow)
		caches[2] = cacheOf(t, join(t, dir, 2).Bus, opts.in(w, 2), r.load)
		awaitServing(t, caches...)
		for _, c := range caches {
			eventually(t, func() bool { return isStored(t, c, "k") }, "it is stored at last")
			eventually(t, func() bool { return isStored(t, c, "other") }, "it was not updated")
		}
	})
}
