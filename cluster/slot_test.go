package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const bootTimeout = time.Minute

// begin returns a slot whose worker has just been started.
func begin(now time.Time) *slot {
	s := &slot{number: 1, deadline: now}
	s.started(now, bootTimeout)
	return s
}

// restartAfter returns how long the slot waits to start the next worker.
func restartAfter(t *testing.T, s *slot, now time.Time) time.Duration {
	t.Helper()
	require.Equal(t, waiting, s.phase)
	return s.deadline.Sub(now)
}

func TestSlotBackOffOfFailuresToBoot(t *testing.T) {
	now := time.Now()
	s := begin(now)
	for _, milliseconds := range []int64{100, 200, 400, 800} {
		s.died(now, false, 0)
		assert.Equal(t, milliseconds, restartAfter(t, s, now).Milliseconds())
		assert.False(t, s.looping)
		now = s.deadline
		assert.Equal(t, start, s.due(now))
		s.started(now, bootTimeout)
	}
	s.died(now, false, 0)
	assert.True(t, s.looping, "the fifth failure within 30 s")
	assert.Equal(t, longestDelay, restartAfter(t, s, now))
}

func TestSlotBackOffIsNotForeverDoubled(t *testing.T) {
	now := time.Now()
	s := begin(now)
	for range 100 {
		now = now.Add(crashWindow) // so far apart that it is no crash loop
		s.died(now, false, 0)
		assert.False(t, s.looping)
		s.started(now, bootTimeout)
	}
	s.died(now, false, 0)
	assert.Equal(t, longestDelay, restartAfter(t, s, now))
}

func TestSlotJitter(t *testing.T) {
	for _, c := range []struct {
		jitter       float64
		milliseconds int64
	}{{-1, 80}, {-0.5, 90}, {0, 100}, {0.5, 110}} {
		now := time.Now()
		s := begin(now)
		s.died(now, false, c.jitter)
		assert.Equal(t, c.milliseconds, restartAfter(t, s, now).Milliseconds(), "jitter %v", c.jitter)
	}
}

func TestSlotDeathAfterReadyIsReplacedAtOnceThenBacksOff(t *testing.T) {
	now := time.Now()
	s := begin(now)
	for _, milliseconds := range []int64{0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		s.becameReady(now)
		now = now.Add(2 * time.Second)
		s.died(now, false, 0)
		assert.Equal(t, milliseconds, restartAfter(t, s, now).Milliseconds())
		assert.False(t, s.looping, "it became ready each time")
		now = s.deadline
		s.started(now, bootTimeout)
	}
}

func TestSlotLeavesAMomentWhenAWorkerLeftByItself(t *testing.T) {
	now := time.Now()
	s := begin(now)
	for _, milliseconds := range []int64{100, 100, 200, 400} {
		s.becameReady(now)
		s.died(now, true, 0)
		assert.Equal(t, milliseconds, restartAfter(t, s, now).Milliseconds())
		now = s.deadline
		s.started(now, bootTimeout)
	}
}

func TestSlotStableWorkerClearsTheRecord(t *testing.T) {
	now := time.Now()
	s := begin(now)
	for range crashLimit {
		s.died(now, false, 0)
		s.started(now, bootTimeout)
	}
	require.True(t, s.looping)
	s.becameReady(now)

	now = now.Add(stableAfter - time.Millisecond)
	unstable := *s
	unstable.died(now, false, 0)
	assert.True(t, unstable.looping, "a moment too short")

	now = now.Add(time.Millisecond)
	s.died(now, false, 0)
	assert.False(t, s.looping)
	assert.Zero(t, restartAfter(t, s, now))
}

func TestSlotFailuresFarApartAreNoCrashLoop(t *testing.T) {
	now := time.Now()
	s := begin(now)
	for range 20 {
		s.died(now, false, 0)
		assert.False(t, s.looping)
		now = now.Add(crashWindow/(crashLimit-1) + time.Millisecond)
		s.started(now, bootTimeout)
	}
}

func TestSlotHungBoot(t *testing.T) {
	now := time.Now()
	s := begin(now)
	assert.Equal(t, nothing, s.due(now.Add(bootTimeout-1)))
	now = now.Add(bootTimeout)
	assert.Equal(t, dump, s.due(now))
	assert.Equal(t, nothing, s.due(now), "asked once")
	now = now.Add(dumpGrace)
	assert.Equal(t, kill, s.due(now))
	assert.Equal(t, nothing, s.due(now.Add(time.Hour)), "killed once")
	s.died(now, false, 0)
	assert.Equal(t, firstDelay, restartAfter(t, s, now), "a failure to boot like others")
}

func TestSlotReadyWorkerHasNoDeadline(t *testing.T) {
	now := time.Now()
	s := begin(now)
	s.becameReady(now)
	assert.Equal(t, nothing, s.due(now.Add(24*time.Hour)))
}

func TestSlotReadyTooLate(t *testing.T) {
	now := time.Now()
	s := begin(now)
	require.True(t, s.stop(now, time.Second))
	s.becameReady(now)
	assert.Equal(t, stopping, s.phase, "it is to leave all the same")
}

func TestSlotStop(t *testing.T) {
	now := time.Now()
	t.Run("runs", func(t *testing.T) {
		s := begin(now)
		s.becameReady(now)
		assert.True(t, s.stop(now, time.Second))
		assert.False(t, s.stop(now, time.Second), "asked once")
		assert.Equal(t, nothing, s.due(now.Add(time.Second)), "the worker's own time-out comes first")
		assert.Equal(t, dump, s.due(now.Add(time.Second+stopMargin)))
		assert.Equal(t, kill, s.due(now.Add(time.Second+stopMargin+dumpGrace)))
		s.died(now, false, 0)
		assert.Equal(t, vacant, s.phase)
	})
	t.Run("waits for its start", func(t *testing.T) {
		s := begin(now)
		s.died(now, false, 0)
		assert.False(t, s.stop(now, time.Second))
		assert.Equal(t, vacant, s.phase)
		assert.Equal(t, nothing, s.due(now.Add(time.Hour)))
	})
}

func TestSlotCut(t *testing.T) {
	now := time.Now()
	s := begin(now)
	assert.True(t, s.cut())
	assert.Equal(t, nothing, s.due(now.Add(time.Hour)), "the caller kills")
	s.died(now, false, 0)
	assert.Equal(t, vacant, s.phase)
	assert.False(t, s.cut())
}

func TestSlotGenerations(t *testing.T) {
	now := time.Now()
	s := begin(now)
	for generation := 1; generation < 5; generation++ {
		assert.Equal(t, generation, s.generation)
		s.died(now, false, 0)
		s.started(now, bootTimeout)
	}
}
