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
	// Weights draws a worker by weights that are renewed now and then from what is seen at that moment.
	Weights Policy = "weights"
	// BestOfTwo draws two different workers, and takes that with fewer open connections.
	BestOfTwo Policy = "best-of-two"
	// Watched takes any worker as Hash does, and if that has something to do, the first of eight others that has nothing, as with
	// queues that are watched by others (reuseport.MultiListener). What nobody is idle for stays where it is.
	Watched Policy = "watched"
	// LeastLoaded takes a worker with the fewest open connections, any of them: join the shortest queue.
	LeastLoaded Policy = "least-loaded"
	// Shared is the ideal: not N workers, but one with N CPUs, as a process with goroutines has. With FCFS it is the central
	// queue M/G/N. With PS up to N requests have a CPU each, and more than N share all of them equally.
	Shared Policy = "shared"
)

// policies choose a worker.
var policies = map[Policy]func(*site) int{
	Hash:        (*site).hash,
	RoundRobin:  (*site).inTurn,
	Weights:     (*site).weighted,
	BestOfTwo:   (*site).bestOfTwo,
	Watched:     (*site).watched,
	LeastLoaded: (*site).leastLoaded,
	Shared:      func(*site) int { return 0 }, // it is the only one
}

// site is what policies see, and what they remember.
type site struct {
	open    []int // connections, by worker
	choices *rand.Rand
	choose  func(*site) int

	turn   int    // for RoundRobin: whose it was; -1 before the first one
	opened int    // for Weights: connections since the last look
	shares shares // for Weights: nil before the first look
}

func newSite(workers int, choices *rand.Rand, p Policy) *site {
	return &site{open: make([]int, workers), choices: choices, choose: policies[p], turn: -1}
}

// connect opens a connection, and returns its worker.
func (s *site) connect() int {
	worker := s.choose(s)
	s.open[worker]++
	return worker
}

func (s *site) hash() int { return s.choices.IntN(len(s.open)) }

func (s *site) inTurn() int {
	if s.turn < 0 {
		s.turn = s.hash()
	}
	s.turn = (s.turn + 1) % len(s.open)
	return s.turn
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

// watchers is how many others watch the queue of a worker.
const watchers = 8

func (s *site) watched() int {
	n, owner := len(s.open), s.hash()
	others := min(watchers, n-1)
	for i := range others + 1 {
		worker := owner
		if i > 0 {
			worker = (owner + 1 + (i-1)*(n-1)/others) % n // all around the ring
		}
		if s.open[worker] == 0 {
			return worker
		}
	}
	return owner
}

func (s *site) leastLoaded() int {
	least := slices.Min(s.open)
	var all []int
	for i, open := range s.open {
		if open == least {
			all = append(all, i)
		}
	}
	return all[s.choices.IntN(len(all))]
}

func (s *site) weighted() int {
	s.opened++
	if s.shares == nil {
		return s.hash()
	}
	return s.shares.draw(s.choices)
}

// look renews the weights. It sees how many connections each worker has open at that moment and how many have been opened
// since the last look, and nothing else, and until the next look nobody sees more.
//
// It expects that as many will be opened until the next look as since the last one, and gives each worker the share of
// them that levels all out, as water that is poured onto uneven ground: those above the level get nothing, the others
// what they are below it. Where it looks often that is nearly the shortest queue, where it looks seldom nearly the hash,
// and never a stampede to the one that was the emptiest a while ago. It is the "basic load interpretation" of Dahlin,
// Interpreting Stale Load Information, IEEE Transactions on Parallel and Distributed Systems 11 (2000).
func (s *site) look() {
	s.shares = newShares(fill(s.open, max(1, s.opened)))
	s.opened = 0
}

// fill returns how much each must get of what is poured, so that all that get something end at the same level.
func fill(ground []int, poured int) []float64 {
	level, sum := 0.0, float64(poured)
	for i, height := range slices.Sorted(slices.Values(ground)) {
		if i > 0 && float64(height) >= level {
			break
		}
		sum += float64(height)
		level = sum / float64(i+1)
	}
	portions := make([]float64, len(ground))
	for i, height := range ground {
		portions[i] = max(0, level-float64(height))
	}
	return portions
}
