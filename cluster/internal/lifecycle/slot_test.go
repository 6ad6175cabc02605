package lifecycle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var never time.Time // when a worker became ready that never did

// begin returns a slot whose worker has just been started.
func begin() *slot {
	s := &slot{number: 1}
	s.started()
	return s
}

// restartAfter returns how long the slot waits to start the next worker.
func restartAfter(t *testing.T, s *slot, now time.Time) time.Duration {
	t.Helper()
	require.False(t, s.next.IsZero())
	return s.next.Sub(now)
}

func TestSlotBackOffOfFailuresToBoot(t *testing.T) {
	now := time.Now()
	s := begin()
	for _, milliseconds := range []int64{100, 200, 400, 800} {
		s.died(now, never, false, 0)
		assert.Equal(t, milliseconds, restartAfter(t, s, now).Milliseconds())
		assert.False(t, s.looping)
		assert.False(t, s.isDue(s.next.Add(-1)))
		now = s.next
		assert.True(t, s.isDue(now))
		s.started()
		assert.False(t, s.isDue(now.Add(time.Hour)), "one at a time")
	}
	s.died(now, never, false, 0)
	assert.True(t, s.looping, "the fifth failure within 30 s")
	assert.Equal(t, longestDelay, restartAfter(t, s, now))
}

func TestSlotBackOffIsNotForeverDoubled(t *testing.T) {
	now := time.Now()
	s := begin()
	for range 100 {
		now = now.Add(crashWindow) // so far apart that it is no crash loop
		s.died(now, never, false, 0)
		assert.False(t, s.looping)
		s.started()
	}
	s.died(now, never, false, 0)
	assert.Equal(t, longestDelay, restartAfter(t, s, now))
}

func TestSlotJitter(t *testing.T) {
	for _, c := range []struct {
		jitter       float64
		milliseconds int64
	}{{-1, 80}, {-0.5, 90}, {0, 100}, {0.5, 110}} {
		now := time.Now()
		s := begin()
		s.died(now, never, false, c.jitter)
		assert.Equal(t, c.milliseconds, restartAfter(t, s, now).Milliseconds(), "jitter %v", c.jitter)
	}
}

func TestSlotDeathAfterReadyIsReplacedAtOnceThenBacksOff(t *testing.T) {
	now := time.Now()
	s := begin()
	for _, milliseconds := range []int64{0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		readyAt := now
		now = now.Add(2 * time.Second)
		s.died(now, readyAt, false, 0)
		assert.Equal(t, milliseconds, restartAfter(t, s, now).Milliseconds())
		assert.False(t, s.looping, "it became ready each time")
		now = s.next
		s.started()
	}
}

func TestSlotLeavesAMomentWhenAWorkerLeftByItself(t *testing.T) {
	now := time.Now()
	s := begin()
	for _, milliseconds := range []int64{100, 100, 200, 400} {
		s.died(now, now, true, 0)
		assert.Equal(t, milliseconds, restartAfter(t, s, now).Milliseconds())
		now = s.next
		s.started()
	}
}

func TestSlotStableWorkerClearsTheRecord(t *testing.T) {
	now := time.Now()
	s := begin()
	for range crashLimit {
		s.died(now, never, false, 0)
		s.started()
	}
	require.True(t, s.looping)
	readyAt := now

	now = now.Add(stableAfter - time.Millisecond)
	unstable := *s
	unstable.died(now, readyAt, false, 0)
	assert.True(t, unstable.looping, "a moment too short")

	now = now.Add(time.Millisecond)
	s.died(now, readyAt, false, 0)
	assert.False(t, s.looping)
	assert.Zero(t, restartAfter(t, s, now))
}

func TestSlotFailuresFarApartAreNoCrashLoop(t *testing.T) {
	now := time.Now()
	s := begin()
	for range 20 {
		s.died(now, never, false, 0)
		assert.False(t, s.looping)
		now = now.Add(crashWindow/(crashLimit-1) + time.Millisecond)
		s.started()
	}
}

func TestSlotClosed(t *testing.T) {
	now := time.Now()
	t.Run("while its worker lives", func(t *testing.T) {
		s := begin()
		s.close()
		s.died(now, now, false, 0)
		assert.False(t, s.isDue(now.Add(time.Hour)))
		assert.Zero(t, s.restarts)
	})
	t.Run("while it waits for a start", func(t *testing.T) {
		s := begin()
		s.died(now, never, false, 0)
		s.close()
		assert.False(t, s.isDue(now.Add(time.Hour)))
	})
}

func TestSlotGenerations(t *testing.T) {
	now := time.Now()
	s := begin()
	for generation := 1; generation < 5; generation++ {
		assert.Equal(t, generation, s.generation)
		assert.Equal(t, generation-1, s.restarts)
		s.died(now, never, false, 0)
		s.started()
	}
}
