package cluster

import "time"

// How a worker is made to leave that does not by itself.
const (
	stopMargin = time.Second     // what a worker gets beyond its own time-out
	dumpGrace  = 2 * time.Second // from SIGQUIT, for the dump of the goroutines, to SIGKILL
)

type phase int

const (
	starting phase = iota // runs and is not ready
	ready
	stopping // was asked to leave
	dumping  // was sent SIGQUIT
	killing  // was sent SIGKILL
)

type action int

const (
	nothing action = iota
	dump
	kill
)

// life is that of one worker, from its start to its end: a state machine without clock, process or goroutine. The
// supervisor tells it what happened and carries out what it answers.
type life struct {
	phase    phase
	since    time.Time // of the phase
	deadline time.Time // when due has an answer; zero: never
	readyAt  time.Time // zero: it has not been ready
	asked    bool      // to leave
}

func newLife(now time.Time, bootTimeout time.Duration) life {
	return life{phase: starting, since: now, deadline: now.Add(bootTimeout)}
}

func (l *life) enter(p phase, now, deadline time.Time) {
	if l.phase != p {
		l.since = now
	}
	l.phase, l.deadline = p, deadline
}

// due returns what is to be done at now because a deadline has passed.
func (l *life) due(now time.Time) action {
	if l.deadline.IsZero() || now.Before(l.deadline) {
		return nothing
	}
	switch l.phase {
	case starting, stopping:
		return l.hang(now)
	case dumping:
		l.enter(killing, now, time.Time{})
		return kill
	default:
		return nothing
	}
}

// becameReady returns false when the worker is to leave all the same, or was ready before.
func (l *life) becameReady(now time.Time) bool {
	if l.phase != starting {
		return false
	}
	l.enter(ready, now, time.Time{})
	l.readyAt = now
	return true
}

// leave tells that the worker is asked to leave, and has timeout to do it by itself. It returns false when it was asked
// before.
func (l *life) leave(now time.Time, timeout time.Duration) bool {
	if l.phase > ready {
		return false
	}
	l.asked = true
	l.enter(stopping, now, now.Add(timeout+stopMargin))
	return true
}

// hang tells that the worker does not do what it should.
func (l *life) hang(now time.Time) action {
	if l.phase > stopping {
		return nothing
	}
	l.enter(dumping, now, now.Add(dumpGrace))
	return dump
}

// cut makes the worker be killed now.
func (l *life) cut(now time.Time) { l.enter(killing, now, time.Time{}) }

func (l *life) wasReady() bool { return !l.readyAt.IsZero() }
