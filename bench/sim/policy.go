package sim

import (
	"math/rand/v2"
	"slices"
)

// Policy chooses the worker that gets a new connection.
type Policy string

// The policies.
const (
	// Hash takes any worker with the same probability, as the kernel does with the members of a SO_REUSEPORT group.
	Hash Policy = "hash"
	// RoundRobin takes the workers in turn.
	RoundRobin Policy = "round-robin"
	// Weights draws a worker by weights that a controller renews now and then from what it sees at that moment.
	Weights Policy = "weights"
	// BestOfTwo draws two different workers, and takes that with fewer open connections.
	BestOfTwo Policy = "best-of-two"
	// LeastLoaded takes a worker with the fewest open connections, any of them: join the shortest queue.
	LeastLoaded Policy = "least-loaded"
	// Shared is the ideal: not N workers, but one with N CPUs, as a process with goroutines has. With FCFS it is the central
	// queue M/G/N. With PS up to N requests have a CPU each, and more than N share all of them equally.
	Shared Policy = "shared"
)

// site is what policies see.
type site struct {
	open    []int // connections, by worker
	choices *rand.Rand
	look    func() // to be called at each renewal of the weights, nil if there are none
}

// policies make the function that chooses.
var policies = map[Policy]func(*site) func() int{
	Hash:       func(s *site) func() int { return s.hash },
	RoundRobin: roundRobin,
	Weights: func(s *site) func() int {
		c := &controller{site: s}
		s.look = c.look
		return c.choose
	},
	BestOfTwo:   func(s *site) func() int { return s.bestOfTwo },
	LeastLoaded: func(s *site) func() int { return s.leastLoaded },
	Shared: func(*site) func() int {
		return func() int { return 0 } // it is the only one
	},
}

func (s *site) hash() int { return s.choices.IntN(len(s.open)) }

func roundRobin(s *site) func() int {
	last := s.choices.IntN(len(s.open))
	return func() int {
		last = (last + 1) % len(s.open)
		return last
	}
}

func (s *site) bestOfTwo() int {
	n := len(s.open)
	if n == 1 {
		return 0
	}
	a := s.choices.IntN(n)
	b := (a + 1 + s.choices.IntN(n-1)) % n
	if s.open[b] < s.open[a] {
		return b
	}
	return a
}

func (s *site) leastLoaded() int {
	least, ties := slices.Min(s.open), 0
	for _, open := range s.open {
		if open == least {
			ties++
		}
	}
	skip := s.choices.IntN(ties)
	for i, open := range s.open {
		if open != least {
			continue
		}
		if skip == 0 {
			return i
		}
		skip--
	}
	panic("unreachable")
}
