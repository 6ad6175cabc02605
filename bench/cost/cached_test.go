//go:build linux

package cost

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEachInvalidationIsOfAStoredKey has the leader count what each process has lost in each round.
func TestEachInvalidationIsOfAStoredKey(t *testing.T) {
	c := tiny()
	var err error
	c.natsd, err = buildProgram(t.Context(), t.TempDir(), natsdPackage)
	require.NoError(t, err)
	names := []string{cacheName, cacheMessages, natsCached}
	if hasRedis() {
		names = append(names, redisCached)
	}
	const keys = 600
	for _, name := range names {
		team, err := c.startTeam(player{System: name, Peers: 2}, 2)
		require.NoError(t, err)
		for range 3 {
			r, err := team.turn(order{Do: fanOuts, Keys: keys, Warm: 20 * time.Millisecond, Duration: 100 * time.Millisecond})
			require.NoError(t, err, name)
			assert.Positive(t, r.Requests, name)
			assert.Positive(t, r.Uncounted, name)
			assert.LessOrEqual(t, r.Uncounted, int64(keys/(warmUp+1)), name)
			assert.LessOrEqual(t, r.Requests+r.Uncounted, int64(keys), name)
			assert.Equal(t, r.Requests+r.Uncounted, r.Lost.Invalidated, name)
			if name == natsCached || name == redisCached {
				assert.Zero(t, r.Lost.Besides, name)
			}
		}
		require.NoError(t, team.stop())
	}
}

// TestUsedUpKeysEndTheRound has less keys than there is time for.
func TestUsedUpKeysEndTheRound(t *testing.T) {
	team, err := tiny().startTeam(player{System: cacheName, Peers: 1}, 2)
	require.NoError(t, err)
	o := order{Do: fanOuts, Keys: 60, Warm: time.Minute, Duration: time.Minute}
	r, err := team.turn(o)
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

func TestKeyringTellsWhatWasNotDone(t *testing.T) {
	var k keyring
	use := func(n int) {
		for i := range n {
			key, err := k.next()
			require.NoError(t, err)
			assert.Equal(t, keyOf(i), key)
		}
	}
	lost, err := k.refilled(3, []int{6, 0})
	require.NoError(t, err, "a first time")
	assert.Zero(t, lost)
	use(2)
	for _, wrong := range [][]int{{2, 1}, {2, 3}, {0, 2}} {
		_, err = k.refilled(3, wrong)
		require.Error(t, err, wrong)
	}
	lost, err = k.refilled(3, []int{2, 2})
	require.NoError(t, err)
	assert.Equal(t, loss{Invalidated: 2}, lost)
	_, err = k.refilled(3, []int{0, 1})
	require.Error(t, err, "nothing was used")
	use(3)
	_, err = k.next()
	require.Error(t, err, "the others must stay")
}

// TestKeyringBoundsChance has 1000 of 4000 values invalidated, in a cache of so many classes that 3 others go with them.
func TestKeyringBoundsChance(t *testing.T) {
	k := keyring{classes: 1_000_000}
	_, err := k.refilled(2000, []int{4000, 4000})
	require.NoError(t, err)
	for range 1000 {
		_, err := k.next()
		require.NoError(t, err)
	}
	for _, wrong := range []int{0, 999, 1023, 4000} {
		_, err = k.refilled(2000, []int{1003, wrong})
		require.Error(t, err, wrong)
	}
	lost, err := k.refilled(2000, []int{1003, 1000, 1022})
	require.NoError(t, err)
	assert.Equal(t, loss{Invalidated: 1000, Besides: 25}, lost)
}

func TestKeysForATime(t *testing.T) {
	keys, err := keysFor(100 * time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, 5000, keys)
	_, err = keysFor(time.Hour)
	require.ErrorContains(t, err, "-slice")
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
	assertTables(t, measureTiny(t, "hit"), [][]string{{hitOtter, hitExpiring, hitAlone, hitMeshed}})
}

// TestMissesAreNoHits has the only keys that are read invalidated all the time.
func TestMissesAreNoHits(t *testing.T) {
	for _, name := range []string{cacheName, cacheMessages} {
		team, err := tiny().startTeam(player{System: name, Peers: 1}, 2)
		require.NoError(t, err)
		for _, shared := range []int{0, 1} {
			r, duration := result{}, 200*time.Millisecond
			for ; r.Requests < 1000; duration *= 4 { // a busy machine reads for longer
				require.Less(t, duration, time.Hour)
				r, err = team.ask(order{Do: readHits, Duration: duration, Rate: 2000, Senders: 64, Shared: shared})
				require.NoError(t, err)
				assert.Zero(t, r.Failures)
				assert.Equal(t, int64(2*2000*duration.Seconds()), r.Hits.Writes, "all that are due, and nothing else")
			}
			assert.Positive(t, r.P50)
			assert.GreaterOrEqual(t, r.Hits.P999, r.P50)
			assert.Positive(t, r.Hits.Clock50)
			if misses := 100 * float64(r.Hits.Misses) / float64(r.Requests+r.Hits.Misses); shared == 1 {
				assert.Greater(t, misses, 1.0, "%s: percent", name)
			} else {
				assert.Less(t, misses, 0.1, "%s: percent, by chance", name)
			}
		}
		require.NoError(t, team.stop())
	}
}

// TestScheduleKeepsItsTimes has nobody take the second half before it is over.
func TestScheduleKeepsItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := make(chan time.Time)
		begin := time.Now()
		go func() { // ends with its last call
			defer close(due)
			p := pace{begin: begin, end: begin.Add(20 * time.Millisecond), next: evenly(10_000, 10), burst: 10}
			p.schedule(due)
		}()
		var times []time.Time
		for at := range due {
			if times = append(times, at); len(times) == 100 {
				time.Sleep(time.Second)
			}
		}
		require.Len(t, times, 200)
		for i, at := range times {
			assert.Equal(t, time.Duration(i/10)*time.Millisecond, at.Sub(begin), "whenever it was sent")
		}
	})
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
