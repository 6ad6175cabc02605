package cluster

import "time"

// How the life of a worker is felt, in parts of Options.LivenessTimeout.
const (
	probesInTimeout  = 20 // so many probes; 250 ms apart by default
	suspectInTimeout = 10 // a suspect after one part of so many; 500 ms by default
	longestSilence   = 6  // so many time-outs on the clock, whatever else there is to be said
)

// pulse counts for how long a worker has not answered, from what it could have done in that time: neither a master that
// was late itself, nor the time in which the worker waited for a CPU, makes it hang.
type pulse struct {
	timeout time.Duration
	silence time.Duration // that counts
	clock   time.Duration // all of it
}

// answered tells that the worker has answered.
func (p *pulse) answered() { p.silence, p.clock = 0, 0 }

// missed tells that the worker owes an answer, elapsed after the last call of missed or answered, of which it waited for
// a CPU for the time starved.
func (p *pulse) missed(elapsed, starved time.Duration) {
	p.clock += elapsed
	counts := min(elapsed, 2*p.interval()) // more: we were late
	p.silence += max(0, counts-starved)
}

// interval is the time between two probes.
func (p *pulse) interval() time.Duration { return p.timeout / probesInTimeout }

// isSuspect tells whether the worker is to get no new connections.
func (p *pulse) isSuspect() bool { return p.silence >= p.timeout/suspectInTimeout }

// isHung tells whether the worker is to be ended.
func (p *pulse) isHung() bool { return p.silence >= p.timeout || p.clock >= longestSilence*p.timeout }
