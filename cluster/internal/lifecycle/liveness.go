package lifecycle

import "time"

// How a worker is probed, in parts of Config.LivenessTimeout.
const (
	probesInTimeout  = 20 // so many probes; 250 ms apart by default
	suspectInTimeout = 10 // a suspect after one part of so many; 500 ms by default
	longestSilence   = 6  // so many timeouts by the clock: the worker hangs, even if most of the silence did not count
)

// liveness measures how long a worker has not answered. Time in which the worker waited for a CPU does not count, nor does time
// in which the master itself was late.
type liveness struct {
	asking  bool // a probe is on its way
	suspect bool // the worker gets no new connections
	timeout time.Duration
	silence time.Duration // that counts
	clock   time.Duration // all of it
}

// recordAnswer notes that the worker has answered.
func (l *liveness) recordAnswer() { l.silence, l.clock = 0, 0 }

// recordMiss notes that an answer is still missing, elapsed after the last record; for the time starved the worker waited for a
// CPU.
func (l *liveness) recordMiss(elapsed, starved time.Duration) {
	l.clock += elapsed
	counts := min(elapsed, 2*l.interval()) // more: we were late
	l.silence += max(0, counts-starved)
}

// interval is the time between two probes.
func (l *liveness) interval() time.Duration { return l.timeout / probesInTimeout }

// isSuspect reports whether the worker is to get no new connections.
func (l *liveness) isSuspect() bool { return l.silence >= l.timeout/suspectInTimeout }

// isHung reports whether the worker is to be ended.
func (l *liveness) isHung() bool {
	return l.silence >= l.timeout || l.clock >= longestSilence*l.timeout
}
