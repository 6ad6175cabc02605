// Package sim compares ways to spread work over N workers by simulation, for machines that have more CPUs than the one
// at hand.
//
// The model. Requests arrive as a Poisson process at a rate that keeps each CPU busy for a share Load of the time. What a
// request demands of a CPU is drawn from a Law whose mean is 1, and all times are in this unit: where a request takes
// 1 ms, they are milliseconds. There are N workers with one CPU each. A worker shares its CPU equally among its requests
// (PS, a process with a goroutine for each), or does them one after the other (FCFS). Go's scheduler takes a goroutine
// off a CPU after 10 ms, or when it waits: PS is the model of requests that are longer than that or wait often, FCFS the
// one of short requests that only compute.
//
// A connection is given to a worker once, when it opens, by a Policy. It carries one request, or it is one of a fixed
// number of long-lived ones. Those send requests as Poisson processes, equally often or after Zipf's law, and do not wait
// for answers. They live for an exponential time; they end in pairs, drawn at random, and are at once replaced by others
// with the same rates, so that the load is always the same.
//
// All that a policy may look at is how many connections each worker has open. Where a connection carries one request
// that is how many requests a worker has, what theory calls the length of its queue.
//
// What is left out: the network, accept queues and their limits, the kernel's cost of a connection, caches and memory,
// the cost of switching between processes or goroutines, garbage collection, other programs, and CPUs of different
// speed. The kernel's hash of a connection's addresses and ports is taken as uniform and independent. Nobody gives up
// or tries again. Real gains are smaller where one of these rules.
//
// How it is done. Events are exact, without steps of time: a worker keeps a virtual time, which is the service that each
// of its requests has got, and the virtual times at which they are done, in their order. Each replication draws arrivals,
// demands and choices from streams of its own, the same ones for all policies, so that these are compared on the same
// requests. It starts empty, and what arrives during the warm-up does not count. What arrives in the time that counts is
// followed until it is done. Until then others arrive, but for no longer than a warm-up, or a worker that has more to do
// than it can might never be done. A figure is the mean over the replications with the half-width of its 95 % confidence
// interval by Student's t. A seed and a scenario give the same figures, however many CPUs the machine has.
package sim

import (
	"errors"
	"fmt"
	"math"
)

// Discipline is how a worker treats the requests that it has.
type Discipline string

// The disciplines.
const (
	PS   Discipline = "PS"   // processor sharing
	FCFS Discipline = "FCFS" // first come, first served
)

// Scenario is what is simulated.
type Scenario struct {
	Workers     int        `json:"workers"` // with one CPU each
	Load        float64    `json:"load"`    // of all CPUs, below 1
	Law         Law        `json:"law"`
	Discipline  Discipline `json:"discipline"`
	Policy      Policy     `json:"policy"`
	Every       float64    `json:"every,omitempty"`       // time between two renewals of the weights, for Weights only
	Connections int        `json:"connections,omitempty"` // that are open at any time; 0: each request has its own
	Zipf        float64    `json:"zipf,omitempty"`        // exponent of the connections' rates; 0: all are equal
	Life        float64    `json:"life,omitempty"`        // mean time of a long-lived connection; 0: forever

	Warmup       float64 `json:"warmup"`
	Duration     float64 `json:"duration"` // that counts
	Replications int     `json:"replications"`
	Seed         uint64  `json:"seed"`
}

// validate returns what is wrong.
func (s Scenario) validate() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
	switch {
	case s.Workers < 1:
		return fmt.Errorf("sim: %d workers: there must be one", s.Workers)
	case !positive(s.Load) || s.Load >= 1:
		return fmt.Errorf("sim: load %v: it must lie between 0 and 1, or queues grow forever", s.Load)
	case laws[s.Law].draw == nil:
		return fmt.Errorf("sim: no law %q", s.Law)
	case s.Discipline != PS && s.Discipline != FCFS:
		return fmt.Errorf("sim: no discipline %q", s.Discipline)
	case policies[s.Policy] == nil:
		return fmt.Errorf("sim: no policy %q", s.Policy)
	case s.Policy == Weights && !positive(s.Every):
		return fmt.Errorf("sim: weights renewed every %v: it must be positive", s.Every)
	case s.Connections < 0 || s.Zipf < 0 || s.Life < 0:
		return fmt.Errorf("sim: %d connections, exponent %v, life %v: none may be negative", s.Connections, s.Zipf, s.Life)
	case s.Connections == 1 && s.Life > 0:
		return errors.New("sim: a connection that is replaced: it takes two")
	case !positive(s.Duration) || s.Warmup < 0:
		return fmt.Errorf("sim: duration %v after a warm-up of %v: it must be positive", s.Duration, s.Warmup)
	case s.Replications < 2 || s.Replications > maxReplications:
		return fmt.Errorf("sim: %d replications: a confidence interval takes 2 to %d", s.Replications, maxReplications)
	}
	return nil
}

// label names the policy in a table.
func (s Scenario) label() string {
	if s.Policy == Weights {
		return fmt.Sprintf("%s/%v", s.Policy, s.Every)
	}
	return string(s.Policy)
}

// crew returns the workers.
func (s Scenario) crew() []worker {
	n, cpus := s.Workers, 1
	if s.Policy == Shared {
		n, cpus = 1, s.Workers
	}
	limit := math.MaxInt
	if s.Discipline == FCFS {
		limit = cpus
	}
	crew := make([]worker, n)
	for i := range crew {
		crew[i] = worker{cpus: cpus, limit: limit}
	}
	return crew
}
