package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// silent lets a worker be silent, probed at each interval, and returns after what time it is suspect, and hung.
func silent(p *pulse, interval, starved time.Duration) (suspectAfter, hungAfter time.Duration) {
	for at := interval; !p.isHung(); at += interval {
		p.missed(interval, starved)
		if p.isSuspect() && suspectAfter == 0 {
			suspectAfter = at
		}
		hungAfter = at
	}
	return suspectAfter, hungAfter
}

func TestPulseOfOneThatWasStopped(t *testing.T) {
	p := &pulse{timeout: 5 * time.Second}
	suspectAfter, hungAfter := silent(p, p.interval(), 0)
	assert.Equal(t, 500*time.Millisecond, suspectAfter)
	assert.Equal(t, 5*time.Second, hungAfter)
}

func TestPulseOfOneThatWaitsForACPU(t *testing.T) {
	p := &pulse{timeout: 5 * time.Second}
	suspectAfter, hungAfter := silent(p, p.interval(), p.interval()*3/4)
	assert.Equal(t, 2*time.Second, suspectAfter, "it has had a quarter of the time")
	assert.Equal(t, 20*time.Second, hungAfter)
}

func TestPulseOfOneThatGetsNoCPU(t *testing.T) {
	p := &pulse{timeout: 5 * time.Second}
	suspectAfter, hungAfter := silent(p, p.interval(), 2*p.interval())
	assert.Zero(t, suspectAfter, "it is not to blame")
	assert.Equal(t, longestSilence*5*time.Second, hungAfter)
}

func TestPulseOfALateMaster(t *testing.T) {
	p := &pulse{timeout: 5 * time.Second}
	p.missed(time.Minute/4, 0) // it was stopped itself, or had no CPU
	assert.Equal(t, 2*p.interval(), p.silence)
	assert.False(t, p.isHung())
	assert.True(t, p.isSuspect(), "that costs the worker nothing but its share for a moment")
}

func TestPulseAnswered(t *testing.T) {
	p := &pulse{timeout: 5 * time.Second}
	for range probesInTimeout - 1 {
		p.missed(p.interval(), 0)
	}
	assert.True(t, p.isSuspect())
	assert.False(t, p.isHung())
	p.answered()
	assert.False(t, p.isSuspect())
	p.missed(p.interval(), 0)
	assert.False(t, p.isSuspect(), "one missed answer makes nobody suspect")
}
