package lifecycle

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

// slot is one place for a worker, and when it is filled again.
type slot struct {
	number     int
	generation int
	next       time.Time // of the next start; zero: none is due
	closed     bool      // no worker is started any more
	everReady  bool
	restarts   int         // unplanned starts
	strikes    int         // workers in a row that did not stay ready for stableAfter
	failures   []time.Time // to boot, within crashWindow
	looping    bool
	lastExit   string    // of the worker before
	diedAt     time.Time // when it died
}

// isDue reports whether a worker is to be started at now.
func (s *slot) isDue(now time.Time) bool { return !s.next.IsZero() && !now.Before(s.next) }

// started notes that a worker runs.
func (s *slot) started() {
	s.generation++
	s.next = time.Time{}
}

// close keeps workers from being started.
func (s *slot) close() { s.closed, s.next = true, time.Time{} }

// died notes that the worker is gone. It was ready since readyAt, zero: never; byItself: it left without being asked, and without
// an error. jitter is a random number in [-1, 1).
func (s *slot) died(now, readyAt time.Time, byItself bool, jitter float64) {
	s.diedAt = now
	wasReady := !readyAt.IsZero()
	if wasReady && now.Sub(readyAt) >= stableAfter {
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
	s.strikes++
	if !s.closed {
		s.restarts++
		s.next = now.Add(delay)
	}
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
