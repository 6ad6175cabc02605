package pid1

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var (
	killed = exit{code: 137, signal: syscall.SIGKILL}
	failed = exit{code: 2}
	asked  = exit{code: 143, signal: syscall.SIGTERM}
)

func always(int) bool { return true }

func never(int) bool { return false }

// serving returns the rules of an init whose master 10 has been ready since now.
func serving(now time.Time) *rules {
	r := newRules()
	r.started(10)
	r.told(wordReady, 10, now)
	return r
}

func TestEndOfTheMaster(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		ready, stopping bool
		exit            exit
		restarts        bool
		orphan          bool
	}{
		"it never was ready":                  {exit: failed},
		"it was killed before it was ready":   {exit: killed},
		"it ended by itself":                  {ready: true},
		"it was killed":                       {ready: true, exit: killed, restarts: true},
		"a goroutine has panicked":            {ready: true, exit: failed, restarts: true},
		"it has stopped":                      {ready: true, stopping: true},
		"it has stopped and cut requests":     {ready: true, stopping: true, exit: failed},
		"it was told twice to stop":           {ready: true, stopping: true, exit: asked},
		"it was killed while it stopped":      {ready: true, stopping: true, exit: killed, orphan: true},
		"it was ended before it took signals": {exit: asked},
	} {
		r := newRules()
		r.started(10)
		if c.ready {
			r.told(wordReady, 10, now)
		}
		if c.stopping {
			r.told(wordStopping, 10, now)
		}
		r.exited(11, killed, now, never) // an orphan
		assert.Equal(t, 10, r.main, name)
		r.exited(10, c.exit, now, never)
		assert.Zero(t, r.main, name)
		assert.Equal(t, c.restarts, !r.next.IsZero(), name)
		assert.Equal(t, !c.restarts, r.ending, name)
		assert.Equal(t, c.orphan, r.orphan, name)
		assert.Equal(t, c.exit.code, r.code, name)
	}
}

func TestStopWhileTheMasterStartsAgain(t *testing.T) {
	now := time.Now()
	r := serving(now)
	r.exited(10, killed, now, never)
	r.started(12)
	r.exited(12, asked, now, never)
	assert.True(t, r.ending)
	assert.True(t, r.orphan, "no master has stopped the workers")
	assert.Equal(t, 143, r.code)

	r = serving(now)
	r.exited(10, killed, now, never)
	r.stop()
	assert.True(t, r.ending)
	assert.True(t, r.orphan)
	assert.Zero(t, r.next)
	assert.Equal(t, 137, r.code)
}

func TestDelaysOfTheMaster(t *testing.T) {
	now := time.Now()
	r := serving(now)
	for i, want := range []time.Duration{
		0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
		1600 * time.Millisecond, 3200 * time.Millisecond, 6400 * time.Millisecond, 10 * time.Second, 10 * time.Second,
	} {
		r.exited(10, killed, now, never)
		assert.Equal(t, want, r.next.Sub(now), "crash %d", i)
		r.started(10)
		r.told(wordReady, 10, now)
	}
	now = now.Add(stableAfter)
	r.exited(10, killed, now, never)
	assert.Equal(t, now, r.next, "it was stable")
	for range 1000 {
		r.started(10)
		r.told(wordReady, 10, now)
		r.exited(10, killed, now, never)
	}
	assert.Equal(t, now.Add(longestDelay), r.next)
	assert.False(t, r.ending, "each was ready")
}

func TestAMasterThatIsNeverReadyAgain(t *testing.T) {
	now := time.Now()
	r := serving(now)
	r.exited(10, killed, now, never)
	begin := now
	for i := range failureLimit {
		assert.False(t, r.ending, "after %d failures", i)
		now = r.next
		r.started(20 + i)
		r.exited(20+i, failed, now, never)
	}
	assert.True(t, r.ending)
	assert.True(t, r.orphan)
	assert.Equal(t, 2, r.code)
	assert.InDelta(t, 30, now.Sub(begin).Seconds(), 10, "as long as workers wait")
}

func TestHeirTakesOver(t *testing.T) {
	now := time.Now()
	r := serving(now)
	r.told(wordHeir, 20, now)
	r.told(wordReady, 20, now)
	assert.Equal(t, 20, r.main)
	assert.Equal(t, map[int]bool{10: true}, r.former)
	r.told(wordStopping, 20, now)
	r.exited(20, exit{}, now, always)
	assert.True(t, r.ending)
	assert.Len(t, r.former, 1, "the old master still drains")
	r.exited(10, exit{}, now, always)
	assert.Empty(t, r.former)

	r = serving(now)
	r.told(wordHeir, 20, now)
	r.told(wordReady, 20, now)
	r.exited(10, exit{}, now, always)
	assert.Equal(t, 20, r.main, "the end of the old master is not that of the container")
	r.exited(20, killed, now, always)
	assert.False(t, r.ending)
	assert.Equal(t, now, r.next)
}

func TestHeirThatFails(t *testing.T) {
	now := time.Now()
	r := serving(now)
	r.told(wordHeir, 20, now)
	r.told(wordReady, 10, now) // the master has ended it
	r.exited(10, killed, now, always)
	assert.Zero(t, r.main)
	assert.Equal(t, now, r.next)

	r = serving(now)
	r.told(wordHeir, 20, now)
	r.told(wordReady, 20, now)
	r.told(wordReady, 10, now) // the master has not heard it, and has ended it
	assert.Equal(t, 10, r.main)
	assert.Empty(t, r.former)
}

func TestMasterThatDiesDuringATakeover(t *testing.T) {
	now := time.Now()
	r := serving(now)
	r.told(wordHeir, 20, now)
	r.exited(10, killed, now, always)
	assert.Equal(t, 20, r.main, "its heir goes on")
	r.exited(20, failed, now, always)
	assert.Equal(t, now, r.next, "and is started again when it fails")
	assert.False(t, r.ending)

	r = serving(now)
	r.told(wordHeir, 20, now)
	r.exited(10, killed, now, never)
	assert.Zero(t, r.main, "the heir had died before")
	assert.Equal(t, now, r.next)

	r = serving(now)
	r.told(wordHeir, 20, now)
	r.exited(20, killed, now, always)
	r.exited(10, killed, now, always)
	assert.Zero(t, r.main)
}
