//go:build linux

package roles

import (
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/leaktest"
)

// TestMain ends with an error when something is left over.
func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

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
	assert.Equal(t, Loss{Invalidated: 2, Processes: 2}, lost)
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
	assert.Equal(t, Loss{Invalidated: 1000, Besides: 25, Processes: 3}, lost)
}

func TestKeysForATime(t *testing.T) {
	keys, err := KeysFor(100 * time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, 5000, keys)
	_, err = KeysFor(time.Hour)
	require.ErrorContains(t, err, "-slice")
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
	f := &flood{refusal: make(chan struct{}, 1)}
	f.refused()
	require.Error(t, f.awaitBound(time.Millisecond))
	met := make(chan error)
	go func() { met <- f.awaitBound(time.Minute) }() // ends below
	for {
		f.refused()
		select {
		case err := <-met:
			require.NoError(t, err)
			return
		default:
			runtime.Gosched()
		}
	}
}
