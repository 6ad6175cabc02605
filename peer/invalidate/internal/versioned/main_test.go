package versioned

import (
	"context"
	"hash/fnv"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// storeOf returns a store of a process that is alone, which is closed when the test ends.
func storeOf(t *testing.T, config Config[string, int64], load func(context.Context, string) (int64, error)) *Store[string, int64] {
	t.Helper()
	return storeIn(t, NewTable(1), config, load)
}

func storeIn(t *testing.T, table *Table, config Config[string, int64], load func(context.Context, string) (int64, error)) *Store[string, int64] {
	t.Helper()
	hash := func(key string) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key)) // never fails
		return h.Sum64()
	}
	if config.Hash == nil {
		config.Hash = hash
	}
	config.MaxEntries, config.Life, config.HashTag, config.Log = 100, time.Hour, hash, slog.New(slog.DiscardHandler)
	s, err := New(config, table, load)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Lease.RunUntil(clock.Forever)
	return s
}

func get(t *testing.T, s *Store[string, int64], key string) int64 {
	t.Helper()
	v, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	return v
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, await.Limit, time.Millisecond, what)
}

// next returns the next value.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(await.Limit):
		require.Fail(t, "nothing has come")
		panic("unreachable")
	}
}
