package report

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// minRounds is how many rounds it takes to tell a difference: with fewer, the interval from the lowest to the highest round
// misses the median more often than one time in ten.
const minRounds = 5

// confidence is how often the interval of an [Estimate] should hold the true median.
const confidence = 0.95

// Estimate is a median over rounds with an interval for it.
//
// The interval goes from one of the ordered values to another one, and makes no assumption on how they are distributed: the
// true median lies below the lowest of n independent values with a chance of 1/2^n. It is the narrowest such interval,
// with as many values left out below as above, that holds the median with 95 %. Below six rounds there is none, and it goes
// from the lowest to the highest; with five rounds that is 93.75 %.
type Estimate struct {
	Median, Low, High float64
	Rounds            int // the values that are finite; with 0 the rest says nothing
}

// Estimated returns the estimate of values, in any order. Those that are not finite are missing.
func Estimated(values []float64) Estimate {
	sorted := slices.DeleteFunc(slices.Sorted(slices.Values(values)), func(v float64) bool { return !finite(v) })
	n := len(sorted)
	if n == 0 {
		return Estimate{}
	}
	out := leftOut(n)
	return Estimate{
		Median: sorted[(n-1)/2]/2 + sorted[n/2]/2, // halved first, so that the sum cannot overflow
		Low:    sorted[out], High: sorted[n-1-out], Rounds: n,
	}
}

// leftOut returns how many values are left out at each end.
func leftOut(n int) (out int) {
	for 2*(out+1) < n && coverage(n, out+1) >= confidence {
		out++
	}
	return out
}

// coverage is how often the interval that leaves a number of n values out at each end holds the true median: the chance that
// more than that many of n fair coins show each side. With no value it is that of one, 0.
func coverage(n, out int) float64 {
	return max(0, 1-2*distuv.Binomial{N: float64(max(n, 1)), P: 0.5}.CDF(float64(out)))
}

// MaxMean returns how much the busiest has, relative to the mean: 1 is even, and the number of counts is all on one. It is NaN
// if there is nothing to share.
func MaxMean(counts []float64) float64 {
	if len(counts) == 0 {
		return math.NaN()
	}
	return floats.Max(counts) / stat.Mean(counts, nil)
}

// Jain returns Jain's index: (sum x)^2 / (n sum x^2), 1 if all have the same, 1/n if one has all, NaN if there is nothing.
func Jain(counts []float64) float64 {
	sum := floats.Sum(counts)
	return sum * sum / (float64(len(counts)) * floats.Dot(counts, counts))
}

// Deviation returns the standard deviation of the counts relative to their mean, 0 if all have the same, NaN if there is nothing.
func Deviation(counts []float64) float64 {
	mean, deviation := stat.PopMeanStdDev(counts, nil)
	return deviation / mean
}
