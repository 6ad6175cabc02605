//go:build linux

package cost

import (
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
