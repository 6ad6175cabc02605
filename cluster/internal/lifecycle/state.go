package lifecycle

import "time"

// How a worker is made to leave that does not by itself.
const (
	stopMargin = time.Second     // for a worker to leave, beyond its own timeout
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

// remedy is an action against a worker that does not do what it should.
type remedy int

const (
	none remedy = iota
	dump
	kill
)

// state is that of a worker, from its start to its end.
type state struct {
	phase    phase
	since    time.Time // of the phase
	deadline time.Time // when due has an answer; zero: never
	readyAt  time.Time // zero: it has not been ready
	asked    bool      // to leave
}

func newState(now time.Time, bootTimeout time.Duration) state {
	return state{phase: starting, since: now, deadline: now.Add(bootTimeout)}
}

func (s *state) enter(p phase, now, deadline time.Time) {
	if s.phase != p {
		s.since = now
	}
	s.phase, s.deadline = p, deadline
}

// due returns the remedy at now if a deadline has passed.
func (s *state) due(now time.Time) remedy {
	if s.deadline.IsZero() || now.Before(s.deadline) {
		return none
	}
	switch s.phase {
	case starting, stopping:
		return s.hang(now)
	case dumping:
		s.enter(killing, now, time.Time{})
		return kill
	default:
		return none
	}
}

// becameReady returns false when the worker is to leave all the same, or was ready before.
func (s *state) becameReady(now time.Time) bool {
	if s.phase != starting {
		return false
	}
	s.enter(ready, now, time.Time{})
	s.readyAt = now
	return true
}

// leave notes that the worker is asked to leave within timeout. It returns false if the worker was asked before.
func (s *state) leave(now time.Time, timeout time.Duration) bool {
	if s.phase > ready {
		return false
	}
	s.asked = true
	s.enter(stopping, now, now.Add(timeout+stopMargin))
	return true
}

// hang notes that the worker does not do what it should.
func (s *state) hang(now time.Time) remedy {
	if s.phase > stopping {
		return none
	}
	s.enter(dumping, now, now.Add(dumpGrace))
	return dump
}

// cut makes the worker be killed now.
func (s *state) cut(now time.Time) { s.enter(killing, now, time.Time{}) }

func (s *state) wasReady() bool { return !s.readyAt.IsZero() }
