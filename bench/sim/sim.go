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
	Workers     int     // with one CPU each
	Load        float64 // of all CPUs, below 1
	Law         Law
	Discipline  Discipline
	Policy      Policy
	Every       float64 // time between two renewals of the weights, for Weights only
	Connections int     // that are open at any time; 0: each request has its own
	Zipf        float64 // exponent of the connections' rates; 0: all are equal
	Life        float64 // mean time of a long-lived connection; 0: forever

	Warmup       float64
	Duration     float64 // that counts
	Replications int
	Seed         uint64
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
