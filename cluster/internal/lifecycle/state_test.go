package lifecycle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const bootTimeout = time.Minute

func TestLifeHungBoot(t *testing.T) {
	now := time.Now()
	l := newState(now, bootTimeout)
	assert.Equal(t, none, l.due(now.Add(bootTimeout-1)))
	now = now.Add(bootTimeout)
	assert.Equal(t, dump, l.due(now))
	assert.Equal(t, none, l.due(now), "asked once")
	now = now.Add(dumpGrace)
	assert.Equal(t, kill, l.due(now))
	assert.Equal(t, none, l.due(now.Add(time.Hour)), "killed once")
	assert.False(t, l.wasReady())
}

func TestLifeReadyWorkerHasNoDeadline(t *testing.T) {
	now := time.Now()
	l := newState(now, bootTimeout)
	assert.True(t, l.becameReady(now))
	assert.False(t, l.becameReady(now), "ready once")
	assert.Equal(t, none, l.due(now.Add(24*time.Hour)))
	assert.True(t, l.wasReady())
}

func TestLifeReadyTooLate(t *testing.T) {
	now := time.Now()
	for name, end := range map[string]func(*state){
		"stopping": func(l *state) { require.True(t, l.leave(now, time.Second)) },
		"dumping":  func(l *state) { require.Equal(t, dump, l.hang(now)) },
		"killing":  func(l *state) { l.cut(now) },
	} {
		l := newState(now, bootTimeout)
		end(&l)
		before := l.phase
		assert.False(t, l.becameReady(now), name)
		assert.Equal(t, before, l.phase, "it is to leave all the same")
		assert.False(t, l.wasReady(), name)
	}
}

func TestLifeLeave(t *testing.T) {
	now := time.Now()
	l := newState(now, bootTimeout)
	l.becameReady(now)
	assert.True(t, l.leave(now, time.Second))
	assert.False(t, l.leave(now, time.Second), "asked once")
	assert.Equal(t, none, l.due(now.Add(time.Second)), "the worker's own time-out comes first")
	assert.Equal(t, dump, l.due(now.Add(time.Second+stopMargin)))
	assert.Equal(t, kill, l.due(now.Add(time.Second+stopMargin+dumpGrace)))
	assert.True(t, l.wasReady(), "it was, before it left")
}

func TestLifeHangOfOneThatServes(t *testing.T) {
	now := time.Now()
	l := newState(now, bootTimeout)
	l.becameReady(now)
	assert.Equal(t, dump, l.hang(now))
	assert.Equal(t, none, l.hang(now), "asked once")
	assert.False(t, l.leave(now, time.Hour), "that gives it no more time")
	assert.Equal(t, kill, l.due(now.Add(dumpGrace)))
	assert.Equal(t, none, l.hang(now))
}

func TestLifeCut(t *testing.T) {
	now := time.Now()
	l := newState(now, bootTimeout)
	l.cut(now)
	assert.Equal(t, none, l.due(now.Add(time.Hour)), "the caller kills")
	assert.False(t, l.leave(now, time.Second))
}

func TestLifeSince(t *testing.T) {
	now := time.Now()
	l := newState(now, bootTimeout)
	l.becameReady(now.Add(time.Second))
	l.leave(now.Add(2*time.Second), time.Second)
	assert.Equal(t, now.Add(2*time.Second), l.since)
	assert.Equal(t, now.Add(time.Second), l.readyAt)
}
