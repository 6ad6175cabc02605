package cluster

import (
	"slices"
	"time"
)

// The rules by which a worker is restarted.
const (
	firstDelay   = 100 * time.Millisecond
	longestDelay = 10 * time.Second
	delayJitter  = 0.2              // of the delay, either way
	stableAfter  = 10 * time.Second // ready for so long: the failures before are forgotten
	crashLimit   = 5                // failures to boot within crashWindow: crash-looping
	crashWindow  = 30 * time.Second
)

// How a worker is made to leave that does not by itself.
const (
	stopMargin = time.Second     // what a worker gets beyond its own time-out
	dumpGrace  = 2 * time.Second // from SIGQUIT, for the dump of the goroutines, to SIGKILL
)

type phase int

const (
	waiting  phase = iota // for the time of the next start
	starting              // runs and is not ready
	ready
	stopping // was asked to leave
	dumping  // was sent SIGQUIT
	killing  // was sent SIGKILL
	vacant   // nothing runs here and nothing will
)

type action int

const (
	nothing action = iota
	start
	dump
	kill
)

// slot is the life of one place for a worker: a state machine without clock, process or goroutine. The supervisor
// tells it what happened and carries out what it answers.
type slot struct {
	number     int
	generation int
	phase      phase
	deadline   time.Time // when due has an answer; zero: never
	leaving    bool      // no replacement will come
	readyAt    time.Time // of the present worker; zero: it has not been ready
	everReady  bool
	strikes    int         // workers in a row that did not stay ready for stableAfter
	failures   []time.Time // to boot, within crashWindow
	looping    bool
}

// due returns what is to be done at now because a deadline has passed.
func (s *slot) due(now time.Time) action {
	if s.deadline.IsZero() || now.Before(s.deadline) {
		return nothing
	}
	switch s.phase {
	case waiting:
		return start
	case starting, stopping:
		s.phase, s.deadline = dumping, now.Add(dumpGrace)
		return dump
	case dumping:
		s.phase, s.deadline = killing, time.Time{}
		return kill
	default:
		return nothing
	}
}

// started tells that a new worker is to run, and has until bootTimeout to become ready.
func (s *slot) started(now time.Time, bootTimeout time.Duration) {
	s.generation++
	s.phase, s.deadline, s.readyAt = starting, now.Add(bootTimeout), time.Time{}
}

// becameReady returns false when the worker is to leave all the same, or was ready before.
func (s *slot) becameReady(now time.Time) bool {
	if s.phase != starting {
		return false
	}
	s.phase, s.deadline, s.readyAt, s.everReady = ready, time.Time{}, now, true
	return true
}

// died tells that the worker is gone, and whether it left by itself and without an error. jitter is a random number in
// [-1, 1).
func (s *slot) died(now time.Time, byItself bool, jitter float64) {
	if s.leaving {
		s.phase, s.deadline = vacant, time.Time{}
		return
	}
	wasReady := !s.readyAt.IsZero()
	if wasReady && now.Sub(s.readyAt) >= stableAfter {
		s.strikes, s.failures, s.looping = 0, nil, false
	}
	if !wasReady {
		s.failures = slices.DeleteFunc(s.failures, func(at time.Time) bool { return now.Sub(at) > crashWindow })
		s.failures = append(s.failures, now)
		s.looping = s.looping || len(s.failures) >= crashLimit
	}
	delay := s.delay(wasReady, jitter)
	if byItself {
		// An interrupt from a terminal reaches all processes: our own may be on its way.
		delay = max(delay, firstDelay)
	}
	s.phase, s.deadline = waiting, now.Add(delay)
	s.strikes++
}

// delay returns how long to wait before the next start. The first worker that dies after it was ready is replaced at
// once.
func (s *slot) delay(wasReady bool, jitter float64) time.Duration {
	doublings := s.strikes
	if wasReady {
		doublings--
	}
	if doublings < 0 {
		return 0
	}
	delay := longestDelay
	if !s.looping && doublings < 10 { // beyond, the shift would overflow some day
		delay = min(firstDelay<<doublings, longestDelay)
	}
	return delay + time.Duration(float64(delay)*delayJitter*jitter)
}

// stop asks the slot to become vacant: a worker that runs has timeout to leave by itself. It returns whether one runs
// that is to be asked.
func (s *slot) stop(now time.Time, timeout time.Duration) bool {
	s.leaving = true
	switch s.phase {
	case waiting:
		s.phase, s.deadline = vacant, time.Time{}
	case starting, ready:
		s.phase, s.deadline = stopping, now.Add(timeout+stopMargin)
		return true
	case stopping, dumping, killing, vacant:
	}
	return false
}

// cut makes a worker that runs be killed now. It returns whether there is one.
func (s *slot) cut() bool {
	s.leaving = true
	if s.phase == waiting || s.phase == vacant {
		s.phase, s.deadline = vacant, time.Time{}
		return false
	}
	s.phase, s.deadline = killing, time.Time{}
	return true
}
