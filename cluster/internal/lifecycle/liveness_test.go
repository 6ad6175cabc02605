package lifecycle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// silent probes a silent worker at each interval, and returns after what time it is suspect, and hung.
func silent(l *liveness, interval, starved time.Duration) (suspectAfter, hungAfter time.Duration) {
	for at := interval; !l.isHung(); at += interval {
		l.recordMiss(interval, starved)
		if l.isSuspect() && suspectAfter == 0 {
			suspectAfter = at
		}
		hungAfter = at
	}
	return suspectAfter, hungAfter
}

func TestPulseOfOneThatWasStopped(t *testing.T) {
	l := &liveness{timeout: 5 * time.Second}
	suspectAfter, hungAfter := silent(l, l.interval(), 0)
	assert.Equal(t, 500*time.Millisecond, suspectAfter)
	assert.Equal(t, 5*time.Second, hungAfter)
}

func TestPulseOfOneThatWaitsForACPU(t *testing.T) {
	l := &liveness{timeout: 5 * time.Second}
	suspectAfter, hungAfter := silent(l, l.interval(), l.interval()*3/4)
	assert.Equal(t, 2*time.Second, suspectAfter, "it has had a quarter of the time")
	assert.Equal(t, 20*time.Second, hungAfter)
}

func TestPulseOfOneThatGetsNoCPU(t *testing.T) {
	l := &liveness{timeout: 5 * time.Second}
	suspectAfter, hungAfter := silent(l, l.interval(), 2*l.interval())
	assert.Zero(t, suspectAfter, "it is not to blame")
	assert.Equal(t, longestSilence*5*time.Second, hungAfter)
}

func TestPulseOfALateMaster(t *testing.T) {
	l := &liveness{timeout: 5 * time.Second}
	l.recordMiss(time.Minute/4, 0) // it was stopped itself, or had no CPU
	assert.Equal(t, 2*l.interval(), l.silence)
	assert.False(t, l.isHung())
	assert.True(t, l.isSuspect(), "that costs the worker nothing but its share for a moment")
}

func TestPulseAnswered(t *testing.T) {
	l := &liveness{timeout: 5 * time.Second}
	for range probesInTimeout - 1 {
		l.recordMiss(l.interval(), 0)
	}
	assert.True(t, l.isSuspect())
	assert.False(t, l.isHung())
	l.recordAnswer()
	assert.False(t, l.isSuspect())
	l.recordMiss(l.interval(), 0)
	assert.False(t, l.isSuspect(), "one missed answer makes no worker suspect")
}
