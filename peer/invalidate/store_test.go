package invalidate

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/singleflight"

	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
)

// cacher is the part of a cache that the stale-set test needs.
type cacher interface {
	Get(ctx context.Context, key string) (int64, error)
	Invalidate(ctx context.Context, keys ...string) error
}

// naive is the usual cache, a map with singleflight, as most people write it.
type naive struct {
	load  func(context.Context, string) (int64, error)
	group singleflight.Group
	mu    sync.Mutex
	m     map[string]int64
}

func (n *naive) Get(ctx context.Context, key string) (int64, error) {
	n.mu.Lock()
	v, ok := n.m[key]
	n.mu.Unlock()
	if ok {
		return v, nil
	}
	loaded, err, _ := n.group.Do(key, func() (any, error) {
		v, err := n.load(ctx, key)
		if err == nil {
			n.mu.Lock()
			n.m[key] = v
			n.mu.Unlock()
		}
		return v, err
	})
	return loaded.(int64), err
}

func (n *naive) Invalidate(_ context.Context, keys ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range keys {
		delete(n.m, key)
		n.group.Forget(key)
	}
	return nil
}

// staleSet reads through reader while a load is held in flight, and returns reader's value after writer's Invalidate and
// the end of the load. The new value is 2.
func staleSet(t *testing.T, h *holdable, reader, writer cacher) int64 {
	t.Helper()
	h.value.Store(1)
	h.hold.Store(true)
	first := make(chan int64)
	go func() { // ends with the load
		v, err := reader.Get(context.Background(), "k")
		assert.NoError(t, err)
		first <- v
	}()
	next(t, h.read)
	h.value.Store(2)
	require.NoError(t, writer.Invalidate(limited(t), "k"))
	h.release <- none{}
	assert.EqualValues(t, 1, next(t, first), "a Get from before may return the old value")
	v, err := reader.Get(limited(t), "k")
	require.NoError(t, err)
	return v
}

func TestStaleSet(t *testing.T) {
	t.Parallel()
	h := newHoldable()
	c := cacheOf(t, nil, Options[string, int64]{}, h.load)
	assert.EqualValues(t, 2, staleSet(t, h, c, c))
	assert.EqualValues(t, 2, get(t, c, "k"))
	assert.EqualValues(t, 2, h.reads.Load(), "the new value is stored")
	assert.EqualValues(t, 1, c.Stats().Voided)
}

func TestStaleSetOfTheUsualCache(t *testing.T) {
	t.Parallel()
	h := newHoldable()
	n := &naive{load: h.load, m: make(map[string]int64)}
	assert.EqualValues(t, 1, staleSet(t, h, n, n), "it is stale, and so the test can fail")
}

func TestInvalidationsOfALoadInFlight(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, c *Cache[string, int64]) error{
		"key":         func(ctx context.Context, c *Cache[string, int64]) error { return c.Invalidate(ctx, "x", "k") },
		"tag":         func(ctx context.Context, c *Cache[string, int64]) error { return c.InvalidateTag(ctx, "all") },
		"unknown tag": func(ctx context.Context, c *Cache[string, int64]) error { return c.InvalidateTag(ctx, "none") },
		"all":         func(ctx context.Context, c *Cache[string, int64]) error { return c.InvalidateAll(ctx) },
		"update": func(ctx context.Context, c *Cache[string, int64]) error {
			return c.Update(ctx, []string{"k"}, func(context.Context) error { return nil })
		},
	}
	for name, invalidate := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHoldable()
			opts := Options[string, int64]{Tags: func(string, int64) []string { return []string{"all"} }}
			c := cacheOf(t, nil, opts, h.load)
			assert.EqualValues(t, 2, staleSet(t, h, c, invalidator{c, invalidate}))
			assert.EqualValues(t, 2, get(t, c, "k"))
		})
	}
}

// invalidator invalidates in another way.
type invalidator struct {
	*Cache[string, int64]
	f func(ctx context.Context, c *Cache[string, int64]) error
}

func (i invalidator) Invalidate(ctx context.Context, _ ...string) error { return i.f(ctx, i.Cache) }

func TestGetsDuringALoadShareIt(t *testing.T) {
	t.Parallel()
	h := newHoldable()
	c := cacheOf(t, nil, Options[string, int64]{}, h.load)
	h.hold.Store(true)
	var gets sync.WaitGroup
	for range 100 {
		gets.Go(func() {
			_, err := c.Get(limited(t), "k")
			assert.NoError(t, err)
		})
	}
	next(t, h.read)
	eventually(t, func() bool { return c.Stats().Misses == 100 }, "all wait")
	h.release <- none{}
	gets.Wait()
	assert.EqualValues(t, 1, h.reads.Load())
}

// Without a lease, a Get may join only a load that begins after it; and still one runs at a time.
func TestLoadsWithoutALease(t *testing.T) {
	t.Parallel()
	h := newHoldable()
	c := cacheOf(t, nil, Options[string, int64]{}, h.load)
	c.store.Lease.Suspend()
	h.value.Store(1)
	h.hold.Store(true)
	first, later := make(chan int64, 1), make(chan int64, 100)
	load := func(values chan int64) { // ends with the load
		v, err := c.Get(context.Background(), "k")
		assert.NoError(t, err)
		values <- v
	}
	go load(first)
	next(t, h.read)
	h.value.Store(2)
	for range 100 {
		go load(later)
	}
	eventually(t, func() bool { return c.Stats().Misses == 101 }, "all wait")
	assert.EqualValues(t, 1, h.reads.Load(), "one at a time")
	h.release <- none{}
	assert.EqualValues(t, 1, next(t, first))
	for range 100 {
		assert.EqualValues(t, 2, next(t, later))
	}
	assert.LessOrEqual(t, h.reads.Load(), int64(101))
	reads := h.reads.Load()
	assert.EqualValues(t, 2, get(t, c, "k"))
	assert.Equal(t, reads+1, h.reads.Load(), "nothing was stored")
	assert.EqualValues(t, h.reads.Load(), c.Stats().Bypassed)
}

func TestContextOfGet(t *testing.T) {
	t.Parallel()
	h := newHoldable()
	c := cacheOf(t, nil, Options[string, int64]{}, h.load)
	h.value.Store(7)
	h.hold.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	failed, got := make(chan error, 1), make(chan int64, 1)
	go func() {
		_, err := c.Get(ctx, "k")
		failed <- err
	}()
	next(t, h.read)
	go func() {
		v, err := c.Get(context.Background(), "k")
		assert.NoError(t, err)
		got <- v
	}()
	eventually(t, func() bool { return c.Stats().Misses == 2 }, "the other one waits, too")
	cancel()
	require.ErrorIs(t, next(t, failed), context.Canceled)
	h.release <- none{}
	assert.EqualValues(t, 7, next(t, got), "the load went on for the other one")
	_, err := c.Get(ctx, "absent")
	require.ErrorIs(t, err, context.Canceled)
}

func TestLoadThatNobodyWaitsForEnds(t *testing.T) {
	t.Parallel()
	began, ended := make(chan any, 10), make(chan error, 10)
	type valueKey struct{}
	c := cacheOf(t, nil, Options[string, int64]{}, func(ctx context.Context, _ string) (int64, error) {
		began <- ctx.Value(valueKey{})
		<-ctx.Done()
		ended <- ctx.Err()
		return 0, ctx.Err()
	})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "v"))
	failed := make(chan error)
	go func() {
		_, err := c.Get(ctx, "k")
		failed <- err
	}()
	assert.Equal(t, "v", next(t, began))
	cancel()
	require.ErrorIs(t, next(t, failed), context.Canceled)
	require.ErrorIs(t, next(t, ended), context.Canceled)
	go func() {
		_, err := c.Get(t.Context(), "k")
		failed <- err
	}()
	next(t, began)
	require.NoError(t, c.Close())
	require.Error(t, next(t, failed))
	_, err := c.Get(t.Context(), "k")
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, c.Invalidate(t.Context(), "k"), net.ErrClosed)
	require.ErrorIs(t, c.Update(t.Context(), []string{"k"}, func(context.Context) error {
		t.Error("committed")
		return nil
	}), net.ErrClosed)
}

func TestLoaderThatPanics(t *testing.T) {
	t.Parallel()
	calls := 0
	c := cacheOf(t, nil, Options[string, int64]{}, func(context.Context, string) (int64, error) {
		switch calls++; calls {
		case 1:
			panic("boom")
		case 2:
			runtime.Goexit()
		}
		return 3, nil
	})
	_, err := c.Get(t.Context(), "k")
	panicked, ok := errors.AsType[*PanicError](err)
	require.True(t, ok)
	assert.Equal(t, "boom", panicked.Value)
	assert.Contains(t, panicked.Error(), "store_test.go")
	_, err = c.Get(t.Context(), "k")
	require.ErrorIs(t, err, versioned.ErrGoexit)
	assert.EqualValues(t, 3, get(t, c, "k"))
	assert.EqualValues(t, 2, c.Stats().Failed)
}

var errNoRow = errors.New("no such row")

func TestErrorsAreStoredAsChosen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls int
		var fail error
		opts := Options[string, *int]{ErrorLife: func(err error) time.Duration {
			if errors.Is(err, errNoRow) {
				return time.Second
			}
			return 0
		}}
		c := cacheOf(t, nil, opts, func(context.Context, string) (*int, error) {
			calls++
			return nil, fail
		})
		defer c.Close()
		fail = errNoRow
		for range 3 {
			_, err := c.Get(t.Context(), "k")
			require.ErrorIs(t, err, errNoRow)
		}
		assert.Equal(t, 1, calls)
		time.Sleep(time.Second)
		fail = net.ErrClosed
		for range 3 {
			_, err := c.Get(t.Context(), "k")
			require.ErrorIs(t, err, net.ErrClosed)
		}
		assert.Equal(t, 4, calls)
		fail = nil
		for range 3 {
			assert.Nil(t, get(t, c, "k"), "nil is a value")
		}
		assert.Equal(t, 5, calls)
		require.NoError(t, c.Invalidate(t.Context(), "k"))
		fail = errNoRow
		_, err := c.Get(t.Context(), "k")
		require.ErrorIs(t, err, errNoRow)
		fail = nil
		require.NoError(t, c.Invalidate(t.Context(), "k"))
		assert.Nil(t, get(t, c, "k"), "the row is there now")
	})
}

// The row changes without an Invalidate.
func TestLongestLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r row
		c := cacheOf(t, nil, Options[string, int64]{Life: time.Minute}, r.load)
		defer c.Close()
		get(t, c, "k")
		r.value.Store(1)
		time.Sleep(time.Minute - 1)
		assert.EqualValues(t, 0, get(t, c, "k"))
		time.Sleep(time.Nanosecond)
		assert.EqualValues(t, 1, get(t, c, "k"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Zero(t, c.Stats().Entries, "the memory is given back")
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHoldable()
		var fail atomic.Bool
		opts := Options[string, int64]{Life: time.Hour, Refresh: time.Minute, ErrorLife: func(error) time.Duration { return 1 }}
		c := cacheOf(t, nil, opts, func(ctx context.Context, key string) (int64, error) {
			if fail.Load() {
				return 0, errNoRow
			}
			return h.load(ctx, key)
		})
		defer c.Close()
		assert.EqualValues(t, 0, get(t, c, "k"))
		h.value.Store(1)
		time.Sleep(time.Minute)
		assert.EqualValues(t, 0, get(t, c, "k"), "while it is loaded anew")
		synctest.Wait()
		assert.EqualValues(t, 1, get(t, c, "k"))
		assert.EqualValues(t, 2, h.reads.Load())

		time.Sleep(time.Minute)
		fail.Store(true)
		assert.EqualValues(t, 1, get(t, c, "k"))
		synctest.Wait()
		assert.EqualValues(t, 1, get(t, c, "k"), "an error changes nothing")
		fail.Store(false)

		time.Sleep(time.Minute) // a refresh obeys the token rule
		h.hold.Store(true)
		assert.EqualValues(t, 1, get(t, c, "k"))
		<-h.read
		h.value.Store(2)
		require.NoError(t, c.Invalidate(t.Context(), "k"))
		h.release <- none{}
		synctest.Wait()
		assert.EqualValues(t, 2, get(t, c, "k"))
	})
}

type numbered struct{ version, value int }

func TestVersionRefusesAnOlderValue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stored := numbered{2, 20}
		opts := Options[string, numbered]{Refresh: time.Second, Version: func(v numbered) uint64 { return uint64(v.version) }}
		c := cacheOf(t, nil, opts, func(context.Context, string) (numbered, error) { return stored, nil })
		defer c.Close()
		assert.Equal(t, 20, get(t, c, "k").value)
		stored = numbered{1, 10} // a replica that lags
		time.Sleep(time.Second)
		get(t, c, "k")
		synctest.Wait()
		assert.Equal(t, 20, get(t, c, "k").value)
		assert.EqualValues(t, 1, c.Stats().Refused)
		stored = numbered{3, 30}
		time.Sleep(time.Second)
		get(t, c, "k")
		synctest.Wait()
		assert.Equal(t, 30, get(t, c, "k").value)
	})
}

func TestTags(t *testing.T) {
	t.Parallel()
	var loads int
	opts := Options[int, int]{Tags: func(key, _ int) []string {
		return []string{"mod3=" + strconv.Itoa(key%3), "mod5=" + strconv.Itoa(key%5)}
	}}
	c := cacheOf(t, nil, opts, func(_ context.Context, key int) (int, error) {
		loads++
		return key, nil
	})
	all := func() int {
		before := loads
		for key := range 15 {
			assert.Equal(t, key, get(t, c, key))
		}
		return loads - before
	}
	assert.Equal(t, 15, all())
	assert.Equal(t, 0, all())
	require.NoError(t, c.InvalidateTag(t.Context(), "mod3=1"))
	assert.Equal(t, 5, all())
	require.NoError(t, c.InvalidateTag(t.Context(), "mod5=1"))
	assert.Equal(t, 3, all())
	require.NoError(t, c.InvalidateTag(t.Context(), "none"))
	assert.Equal(t, 0, all())
	require.NoError(t, c.InvalidateAll(t.Context()))
	assert.Equal(t, 15, all())
}

func TestBounds(t *testing.T) {
	t.Parallel()
	load := func(_ context.Context, key int) (int, error) { return key, nil }
	tests := map[string]Options[int, int]{
		"entries": {MaxEntries: 100},
		"weight":  {MaxWeight: 1000, Weigh: func(int, int) uint32 { return 10 }},
	}
	for name, opts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cacheOf(t, nil, opts, load)
			for key := range 10_000 {
				get(t, c, key)
			}
			eventually(t, func() bool { return c.Stats().Entries <= 100 }, "it is bounded")
			assert.Positive(t, c.Stats().Entries)
		})
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	tests := map[string]Options[int, int]{
		"weight without Weigh": {MaxWeight: 1},
		"half a codec":         {Codec: Codec[int]{Append: appendJSON[int]}},
		"long name":            {Name: string(make([]byte, 201))},
	}
	for name, opts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(nil, opts, func(context.Context, int) (int, error) { return 0, nil })
			require.ErrorContains(t, err, "invalidate: cache ")
		})
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	var r row
	c := cacheOf(t, nil, Options[string, int64]{}, r.load)
	get(t, c, "k")
	err := c.Update(t.Context(), []string{"k"}, func(context.Context) error {
		assert.EqualValues(t, 0, get(t, c, "k"))
		assert.EqualValues(t, 0, get(t, c, "k"))
		r.value.Store(1)
		assert.EqualValues(t, 1, get(t, c, "k"), "nothing is stored meanwhile")
		return nil
	})
	require.NoError(t, err)
	reads := r.reads.Load()
	assert.EqualValues(t, 4, reads)
	get(t, c, "k")
	get(t, c, "k")
	assert.Equal(t, reads+1, r.reads.Load(), "it is stored again")
}
