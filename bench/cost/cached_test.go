//go:build linux

package cost

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// TestEachInvalidationIsOfAStoredKey has the leader count what each process has lost in each round.
func TestEachInvalidationIsOfAStoredKey(t *testing.T) {
	c := tiny()
	c.programs = t.TempDir()
	require.NoError(t, build(t.Context(), c.programs, natsPackage))
	names := []string{roles.Cache, roles.CacheMessages, roles.NATSCached}
	if hasRedis() {
		names = append(names, roles.RedisCached)
	}
	const keys = 600
	for _, name := range names {
		team, err := c.startTeam(t.Context(), roles.Player{System: name, Peers: 2, GOMAXPROCS: 2})
		require.NoError(t, err)
		for range 3 {
			r, err := team.does(roles.Order{Do: roles.FanOuts, Keys: keys}.For(100 * time.Millisecond))(t.Context())
			require.NoError(t, err, name)
			assert.Positive(t, r.Requests, name)
			assert.Positive(t, r.Uncounted, name)
			assert.LessOrEqual(t, r.Uncounted, int64(keys/(roles.WarmUp+1)), name)
			assert.LessOrEqual(t, r.Requests+r.Uncounted, int64(keys), name)
			assert.Equal(t, r.Requests+r.Uncounted, r.Lost.Invalidated, name)
			if name == roles.NATSCached || name == roles.RedisCached {
				assert.Zero(t, r.Lost.Besides, name)
			}
		}
		require.NoError(t, team.stop())
	}
}

// TestUsedUpKeysEndTheRound has less keys than there is time for.
func TestUsedUpKeysEndTheRound(t *testing.T) {
	team, err := tiny().startTeam(t.Context(), roles.Player{System: roles.Cache, Peers: 1, GOMAXPROCS: 2})
	require.NoError(t, err)
	o := roles.Order{Do: roles.FanOuts, Keys: 60, Warm: time.Minute, Duration: time.Minute}
	r, err := team.does(o)(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(10), r.Uncounted)
	assert.Equal(t, int64(50), r.Requests)
	assert.Equal(t, int64(60), r.Lost.Invalidated)
	assert.Less(t, r.Elapsed, time.Minute)
	o.Keys = 0
	_, err = team.ask(o)
	require.Error(t, err, "there is no value to invalidate")
	require.Error(t, team.stop())
}

func TestHits(t *testing.T) {
	out := measureTiny(t, "hits")
	var all []string
	for _, load := range hitLoads {
		all = append(all, load.name)
	}
	assertTables(t, out, [][]string{all, all[1:], all, all[1:]})
}

func TestHit(t *testing.T) {
	assertTables(t, measureTiny(t, "hit"), [][]string{{roles.HitOtter, roles.HitExpiring, roles.HitAlone, roles.HitMeshed}})
}

// TestMissesAreNoHits has the only keys that are read invalidated all the time.
func TestMissesAreNoHits(t *testing.T) {
	for _, name := range []string{roles.Cache, roles.CacheMessages} {
		team, err := tiny().startTeam(t.Context(), roles.Player{System: name, Peers: 1, GOMAXPROCS: 2})
		require.NoError(t, err)
		for _, shared := range []int{0, 1} {
			r, duration := roles.Result{}, 200*time.Millisecond
			for ; r.Requests < 1000; duration *= 4 { // a busy machine reads for longer
				require.Less(t, duration, time.Hour)
				r, err = team.does(roles.Order{Do: roles.ReadHits, Duration: duration, Rate: 2000, Senders: 64, Shared: shared})(t.Context())
				require.NoError(t, err)
				assert.Zero(t, r.Failures)
				assert.Positive(t, r.Writes)
				assert.LessOrEqual(t, r.Writes, int64(2*2000*duration.Seconds()), "those that are due, and nothing else")
			}
			assert.Positive(t, r.P50)
			assert.GreaterOrEqual(t, r.P999, r.P50)
			assert.Positive(t, r.Clock.P50)
			if misses := 100 * float64(r.Misses) / float64(r.Requests+r.Misses); shared == 1 {
				assert.Greater(t, misses, 1.0, "%s: percent", name)
			} else {
				assert.Less(t, misses, 0.1, "%s: percent, by chance", name)
			}
		}
		require.NoError(t, team.stop())
	}
}

func TestCatalog(t *testing.T) {
	rows := []string{
		"requests/s", "reads, p50 us", "reads, p99 us", "CPU us/request", "reads of the database, of a request",
		"reads answered from the database", "writes, in a round", "writes that came too late, in a round",
	}
	assertTables(t, measureUntil(t, "catalog", func(tables string) bool {
		cached := true // something was read twice
		for line := range strings.Lines(tables) {
			if fields := strings.Fields(line); strings.Contains(line, rows[5]) {
				assert.Equal(t, "1.000", fields[5], "without the cache")
				cached = cached && fields[6] < "1.000"
			}
		}
		return cached
	}), [][]string{rows, rows})
}
