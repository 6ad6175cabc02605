package sim

import (
	"math"
	"math/rand/v2"
	"sort"
)

// links are the long-lived connections. There are as many of each rate at any time: one that ends is replaced.
type links struct {
	site    *site
	shares  shares    // of the requests
	rate    []float64 // load that it brings
	worker  []int
	offered []float64 // load by worker
}

// newLinks opens all, in an order of its own, so that those with much to do are not all first.
func newLinks(s Scenario, site *site, order *rand.Rand) *links {
	weights := zipf(s.Connections, s.Zipf)
	l := &links{
		site: site, shares: newShares(weights), rate: weights,
		worker: make([]int, s.Connections), offered: make([]float64, len(site.open)),
	}
	for i := range l.rate {
		l.rate[i] *= s.Load * float64(s.Workers) / l.shares.sum()
	}
	for _, i := range order.Perm(s.Connections) {
		l.open(i)
	}
	return l
}

func (l *links) open(i int) {
	l.worker[i] = l.site.connect()
	l.offered[l.worker[i]] += l.rate[i]
}

func (l *links) close(i int) {
	l.site.open[l.worker[i]]--
	l.offered[l.worker[i]] -= l.rate[i]
}

// together is how many connections end at a time. With one, the policy that takes the worker with the fewest would give
// each successor to the worker that has just lost one, and a placement would never change.
const together = 2

// replace ends some of the connections, drawn at random, and opens their successors.
func (l *links) replace(r *rand.Rand) {
	i := r.IntN(len(l.worker))
	j := (i + 1 + r.IntN(len(l.worker)-1)) % len(l.worker)
	l.close(i)
	l.close(j)
	l.open(i)
	l.open(j)
}

// zipf returns weights that fall with the rank's power. Exponent 0 is all the same.
func zipf(n int, exponent float64) []float64 {
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -exponent)
	}
	return weights
}

// shares is a discrete distribution: the sums of the weights up to and with each index.
type shares []float64

func newShares(weights []float64) shares {
	s, sum := make(shares, len(weights)), 0.0
	for i, w := range weights {
		sum += w
		s[i] = sum
	}
	return s
}

func (s shares) sum() float64 { return s[len(s)-1] }

func (s shares) draw(r *rand.Rand) int {
	x := r.Float64() * s.sum()
	return min(len(s)-1, sort.Search(len(s), func(i int) bool { return s[i] > x }))
}
