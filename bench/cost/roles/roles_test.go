//go:build linux

package roles

import (
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/leaktest"
)

// TestMain ends with an error when something is left over.
func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// filled has so many values stored again in each process.
func filled(loaded ...int) (all []Result) {
	for _, n := range loaded {
		all = append(all, Result{Cached: Cached{Loaded: n}})
	}
	return all
}

func TestLostTellsWhatWasNotDone(t *testing.T) {
	for _, wrong := range [][]int{{2, 1}, {2, 3}, {0, 2}} {
		_, err := Lost(NATSCached, 2, 6, filled(wrong...))
		require.Error(t, err, wrong)
	}
	lost, err := Lost(NATSCached, 2, 6, filled(2, 2))
	require.NoError(t, err)
	assert.Equal(t, Loss{Invalidated: 2, Processes: 2}, lost)
	_, err = Lost(NATSCached, 0, 6, filled(0, 1))
	require.Error(t, err, "nothing was used")
}

func TestInvalidatingUsesEachKeyOnce(t *testing.T) {
	var used []string
	invalidate := invalidating(func(key string) error { used = append(used, key); return nil })
	_, err := invalidate(Order{Keys: 3, Warm: time.Minute, Duration: time.Minute})
	require.NoError(t, err)
	assert.Equal(t, keysTo(3), used)
	_, err = invalidate(Order{Duration: time.Minute})
	require.Error(t, err, "the others must stay")
}

// TestLostBoundsChance has 4,000 of 16,000 values invalidated, in a cache of so many classes that 11 others go with them.
func TestLostBoundsChance(t *testing.T) {
	const used, stored = 4000, 16_000
	for _, wrong := range []int{0, used - 1, used + 56, stored} {
		_, err := Lost(Cache, used, stored, filled(used+3, wrong))
		require.Error(t, err, wrong)
	}
	lost, err := Lost(Cache, used, stored, filled(used+3, used, used+55))
	require.NoError(t, err)
	assert.Equal(t, Loss{Invalidated: used, Besides: 58, Processes: 3}, lost)
}

func TestKeysForATime(t *testing.T) {
	assert.Equal(t, 5000, KeysFor(100*time.Millisecond))
	assert.Equal(t, maxEntries/2, Stored(Cache, Order{Do: FanOuts, Keys: KeysFor(time.Hour)}), "all of them fit in")
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

// TestBoundMustBeMetAnew has a refusal from before the peer was stopped, which shows nothing.
func TestBoundMustBeMetAnew(t *testing.T) {
	var refused atomic.Uint64
	refused.Add(1)
	before := refused.Load()
	require.Error(t, awaitBound(refused.Load, before, time.Millisecond))
	refused.Add(1)
	require.NoError(t, awaitBound(refused.Load, before, time.Minute))
}
