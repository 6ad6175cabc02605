//go:build linux

package cost

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEachInvalidationIsOfACachedKey has the leader count what each process has lost since the last time.
func TestEachInvalidationIsOfACachedKey(t *testing.T) {
	c := tiny()
	var err error
	c.natsd, err = buildNATS(t.Context(), t.TempDir())
	require.NoError(t, err)
	for _, name := range []string{cacheName, natsCached} {
		team, err := c.startTeam(player{System: name, Peers: 2}, 2)
		require.NoError(t, err)
		for range 3 {
			_, err = team.ask(order{Do: prepare, Duration: 10 * time.Millisecond})
			require.NoError(t, err, name)
			r, err := team.ask(order{Do: fanOuts, Duration: 10 * time.Millisecond})
			require.NoError(t, err, name)
			assert.Positive(t, r.Requests)
		}
		require.NoError(t, team.stop())
	}
}

func TestKeyringTellsWhatWasNotDone(t *testing.T) {
	var k keyring
	require.NoError(t, k.refilled(3, []int{3, 0}), "a first time")
	assert.Equal(t, "0", k.next())
	assert.Equal(t, "1", k.next())
	require.Error(t, k.refilled(3, []int{2, 1}), "one has kept a key")
	require.NoError(t, k.refilled(3, []int{2, 2}))
	for range 4 {
		k.next()
	}
	require.Error(t, k.refilled(3, []int{4, 4}), "one was not cached")
	_, err := keysFor(time.Hour)
	require.ErrorContains(t, err, "-slice")
}

func TestHits(t *testing.T) {
	out := measureTiny(t, "hits")
	var all []string
	for _, load := range hitLoads {
		all = append(all, load.name)
	}
	assertTables(t, out, [][]string{all, all[1:]})
}

func TestHit(t *testing.T) {
	assertTables(t, measureTiny(t, "hit"), [][]string{{hitOtter, hitExpiring, hitAlone, hitMeshed}})
}

// TestMissesAreNoHits has the only keys that are read invalidated all the time.
func TestMissesAreNoHits(t *testing.T) {
	team, err := tiny().startTeam(player{System: cacheName, Peers: 1}, 2)
	require.NoError(t, err)
	for shared, areMisses := range map[int]bool{0: false, 1: true} {
		r, err := team.ask(order{Do: readHits, Duration: 200 * time.Millisecond, Rate: 10_000, Senders: 64, Shared: shared})
		require.NoError(t, err)
		assert.Positive(t, r.Requests)
		assert.Positive(t, r.P50)
		assert.GreaterOrEqual(t, r.Hits.P999, r.P50)
		assert.Positive(t, r.Hits.Clock50)
		assert.Positive(t, r.Hits.Writes)
		assert.LessOrEqual(t, r.Hits.Writes, int64(2*10_000/5), "as many as are due")
		assert.Zero(t, r.Failures)
		assert.Equal(t, areMisses, r.Hits.Misses > 0, "%d misses", r.Hits.Misses)
	}
	require.NoError(t, team.stop())
}

func TestScheduleKeepsItsTimes(t *testing.T) {
	due := make(chan time.Time, 1000)
	begin := time.Now()
	schedule(due, 10_000, 10, begin.Add(20*time.Millisecond))
	close(due)
	var times []time.Time
	for at := range due {
		times = append(times, at)
	}
	require.InDelta(t, 200, len(times), 10)
	for i := range times[:len(times)-10] {
		assert.Equal(t, time.Millisecond, times[i+10].Sub(times[i]), "whenever they were sent")
	}
	schedule(make(chan time.Time), 1000, 1, time.Now().Add(time.Millisecond)) // nobody receives: it ends
}

func TestCatalog(t *testing.T) {
	out := measureTiny(t, "catalog")
	rows := []string{
		"requests/s", "reads, p50 us", "reads, p99 us", "CPU us/request", "reads of the database, of a request",
		"reads answered from the database", "writes, in a round", "writes that came too late, in a round",
	}
	assertTables(t, out, [][]string{rows, rows})
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); strings.Contains(line, rows[5]) {
			assert.Equal(t, "1.000", fields[5], "without the cache")
			assert.Less(t, fields[6], "1.000")
		}
	}
}
