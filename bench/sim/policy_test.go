package sim

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func siteOf(p Policy, open ...int) *site {
	s := newSite(len(open), rand.New(rand.NewPCG(1, 2)), p)
	copy(s.open, open)
	return s
}

// drawn returns how often each worker is chosen, as a share.
func drawn(s *site) []float64 {
	const n = 100000
	shares := make([]float64, len(s.open))
	for range n {
		shares[s.choose(s)] += 1.0 / n
	}
	return shares
}

// TestPolicies draws where the workers have 3, 1, 1 and 2 connections.
func TestPolicies(t *testing.T) {
	for policy, want := range map[Policy][]float64{
		Hash:        {0.25, 0.25, 0.25, 0.25},
		RoundRobin:  {0.25, 0.25, 0.25, 0.25},
		BestOfTwo:   {0, 5.0 / 12, 5.0 / 12, 2.0 / 12}, // of six pairs two, two, one, and a tie
		Watched:     {0.25, 0.25, 0.25, 0.25},          // nobody is idle
		LeastLoaded: {0, 0.5, 0.5, 0},
		Weights:     {0.25, 0.25, 0.25, 0.25}, // it has not looked yet
	} {
		s := siteOf(policy, 3, 1, 1, 2)
		assert.InDeltaSlice(t, want, drawn(s), 0.01, policy)
	}
}

// TestWatchedGoesToWhoIsIdle: the owner of the queue if it is, or else the next one in the ring.
func TestWatchedGoesToWhoIsIdle(t *testing.T) {
	assert.InDeltaSlice(t, []float64{0, 0.75, 0.25, 0}, drawn(siteOf(Watched, 1, 0, 0, 2)), 0.01, "from the last one and the first to the second")
}

func TestRoundRobinTakesTurns(t *testing.T) {
	s := siteOf(RoundRobin, 9, 0, 0)
	first := s.choose(s)
	for i := range 10 {
		assert.Equal(t, (first+1+i)%3, s.choose(s))
	}
}

// TestWeightsKnowTheLastLook sees what was open when it looked, and not what is.
func TestWeightsKnowTheLastLook(t *testing.T) {
	s := siteOf(Weights, 3, 0, 1)
	for range 4 {
		s.choose(s)
	}
	s.look()
	want := []float64{0, 2.5 / 4, 1.5 / 4}
	assert.InDeltaSlice(t, want, drawn(s), 0.01)
	copy(s.open, []int{0, 9, 9})
	assert.InDeltaSlice(t, want, drawn(s), 0.01)
	s.look() // 200,000 have been opened since: what is there hardly matters
	assert.InDeltaSlice(t, []float64{1. / 3, 1. / 3, 1. / 3}, drawn(s), 0.01)
	s.look()
	s.look() // none
	assert.InDeltaSlice(t, []float64{1, 0, 0}, drawn(s), 0.01)
}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		ground []int
		poured int
		want   []float64
	}{
		{[]int{3, 0, 1}, 4, []float64{0, 2.5, 1.5}},
		{[]int{3, 0, 1}, 1, []float64{0, 1, 0}},
		{[]int{2, 2, 2, 2}, 1, []float64{0.25, 0.25, 0.25, 0.25}},
		{[]int{5, 0}, 15, []float64{5, 10}},
		{[]int{9, 0}, 1, []float64{0, 1}},
		{[]int{7}, 3, []float64{3}},
	} {
		assert.InDeltaSlice(t, c.want, fill(c.ground, c.poured), 1e-12)
	}
}

func TestSharesDrawZipf(t *testing.T) {
	s := siteOf(Weights, make([]int, 4)...)
	s.shares = newShares(zipf(4, 1))
	const sum = 1 + 1./2 + 1./3 + 1./4
	assert.InDeltaSlice(t, []float64{1 / sum, 1 / sum / 2, 1 / sum / 3, 1 / sum / 4},
		drawn(s), 0.01)
}

func longLived(connections, workers int, p Policy) Scenario {
	s := queue(workers, 0.6, Exponential, PS, p)
	s.Connections, s.Life = connections, 500
	return s
}

// TestConnectionsEnd holds their life, and that the load stays what it is.
func TestConnectionsEnd(t *testing.T) {
	s := longLived(64, 8, BestOfTwo)
	s.Zipf = 1
	r := newRun(s, 0)
	opened, choose := 0, r.site.choose
	r.site.choose = func(s *site) int {
		opened++
		return choose(s)
	}
	_, err := r.do(t.Context())
	require.NoError(t, err)
	_, end, _ := r.next()
	expected := end * 64 / s.Life
	assert.InDelta(t, expected, opened, 5*math.Sqrt(2*expected))
	assertWhole(t, r)
}

// assertWhole fails when connections or load were lost or came from nowhere.
func assertWhole(t *testing.T, r *run) {
	t.Helper()
	open, offered := 0, 0.0
	for i := range r.crew {
		open += r.site.open[i]
		offered += r.links.offered[i]
	}
	assert.Equal(t, r.Connections, open)
	assert.InDelta(t, r.Load*float64(r.Workers), offered, 1e-9)
}

// TestPlacementsChange has one connection that does nearly everything: it must not stay where it was first.
func TestPlacementsChange(t *testing.T) {
	s := longLived(16, 4, LeastLoaded)
	s.Zipf = 5
	r := newRun(s, 0)
	seen := make([]int, s.Workers)
	for range 4000 {
		r.links.replace(r.lives)
		seen[r.links.worker[0]]++
	}
	for _, times := range seen {
		assert.InDelta(t, 1000, times, 400)
	}
	assertWhole(t, r)
}
