package sim

import "math/rand/v2"

// links are the long-lived connections. There are as many of each rate at any time: one that ends is replaced.
type links struct {
	shares  shares    // of the requests
	rate    []float64 // load that it brings
	worker  []int
	offered []float64 // load by worker
}

// newLinks opens all, in an order of its own, so that those with much to do are not all first.
func newLinks(s Scenario, site *site, choose func() int, order *rand.Rand) *links {
	weights := zipf(s.Connections, s.Zipf)
	l := &links{
		shares: newShares(weights), rate: weights,
		worker: make([]int, s.Connections), offered: make([]float64, len(site.open)),
	}
	for i := range l.rate {
		l.rate[i] *= s.Load * float64(s.Workers) / l.shares.sum()
	}
	for _, i := range order.Perm(s.Connections) {
		l.open(i, site, choose)
	}
	return l
}

func (l *links) open(i int, site *site, choose func() int) {
	worker := choose()
	l.worker[i] = worker
	l.offered[worker] += l.rate[i]
	site.open[worker]++
}

func (l *links) close(i int, site *site) {
	site.open[l.worker[i]]--
	l.offered[l.worker[i]] -= l.rate[i]
}

// together is how many connections end at a time. With one, the policy that takes the worker with the fewest would give
// each successor to the worker that has just lost one, and a placement would never change.
const together = 2

// replace ends some of the connections, drawn at random, and opens their successors.
func (l *links) replace(r *rand.Rand, site *site, choose func() int) {
	i := r.IntN(len(l.worker))
	j := (i + 1 + r.IntN(len(l.worker)-1)) % len(l.worker)
	l.close(i, site)
	l.close(j, site)
	l.open(i, site, choose)
	l.open(j, site, choose)
}
