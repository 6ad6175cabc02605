package sim

import (
	"math"
	"math/rand/v2"
)

// Law is the distribution of what a request demands. Its mean is 1.
type Law string

// The laws, with their squared coefficients of variation. The p99 of Bimodal says little: it lies where the short ones end
// and the long ones begin.
const (
	Deterministic Law = "deterministic" // 0: all are the same
	Exponential   Law = "exponential"   // 1
	Pareto        Law = "pareto"        // 9.9: bounded, the longest is 1000 times the shortest
	Bimodal       Law = "bimodal"       // 10.7: 1 % of the requests take 50 times longer
)

// laws have a mean square, and draw a demand.
var laws = map[Law]struct {
	square float64
	draw   func(*rand.Rand) float64
}{
	Deterministic: {1, func(*rand.Rand) float64 { return 1 }},
	Exponential:   {2, (*rand.Rand).ExpFloat64},
	Pareto:        {10.9, drawPareto},
	Bimodal:       {11.7, drawBimodal},
}

const (
	longShare = 0.01 // of the requests
	longRatio = 50
	short     = 1 / (1 - longShare + longShare*longRatio)
)

func drawBimodal(r *rand.Rand) float64 {
	if r.Float64() < longShare {
		return short * longRatio
	}
	return short
}

const (
	paretoShape = 1.5 // drawPareto relies on it
	paretoRange = 1000
)

var (
	paretoCut   = 1 - math.Pow(paretoRange, -paretoShape)
	paretoLeast = (paretoShape - 1) / paretoShape * paretoCut / (1 - math.Pow(paretoRange, 1-paretoShape))
)

// drawPareto inverts the distribution function (1 - (least/x)^1.5) / (1 - 1000^-1.5).
func drawPareto(r *rand.Rand) float64 {
	root := math.Cbrt(1 - r.Float64()*paretoCut) // math.Pow takes a fifth of the time of a simulation
	return paretoLeast / (root * root)
}

// finiteSlowdown reports whether response/demand has a mean: not where a request that waits may be as short as it likes.
func (s Scenario) finiteSlowdown() bool { return s.Discipline == PS || s.Law != Exponential }
