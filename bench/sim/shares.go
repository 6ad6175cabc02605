package sim

import (
	"math"
	"math/rand/v2"
	"sort"
)

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

// zipf returns weights that fall with the rank's power. Exponent 0 is all the same.
func zipf(n int, exponent float64) []float64 {
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -exponent)
	}
	return weights
}

func (s shares) sum() float64 { return s[len(s)-1] }

func (s shares) draw(r *rand.Rand) int {
	x := r.Float64() * s.sum()
	return min(len(s)-1, sort.Search(len(s), func(i int) bool { return s[i] > x }))
}
