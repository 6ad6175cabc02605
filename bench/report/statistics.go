package report

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// MinRounds is how many rounds it takes to tell a difference: with fewer, the interval from the lowest to the highest round
// misses the median more often than one time in ten.
const MinRounds = 5

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

// Coverage returns how often the interval of an estimate over n rounds holds the true median, from 0 to 1.
func Coverage(rounds int) float64 {
	if rounds < 1 {
		return 0
	}
	return coverage(rounds, leftOut(rounds))
}

// leftOut returns how many values are left out at each end.
func leftOut(n int) (out int) {
	for 2*(out+1) < n && coverage(n, out+1) >= confidence {
		out++
	}
	return out
}

// coverage is that of the interval which leaves a number of n values out at each end: the chance that more than that many of
// n fair coins show each side.
func coverage(n, out int) float64 {
	return max(0, 1-2*distuv.Binomial{N: float64(n), P: 0.5}.CDF(float64(out)))
}

// Verdict is what a comparison says.
type Verdict string

// The verdicts.
const (
	Unknown Verdict = ""        // not measured in the same round
	Unclear Verdict = "unclear" // the interval holds "no difference", or there are fewer than MinRounds
	Better  Verdict = "better"
	Worse   Verdict = "worse"
)

// Mark is a verdict in one character.
func (v Verdict) Mark() string {
	return map[Verdict]string{Unclear: "~", Better: "▲", Worse: "▼"}[v]
}

// Comparison is a figure of one way, and how it differs from that of another way.
type Comparison struct {
	Figure  Figure
	Value   Estimate
	Change  Estimate // of the ratio in each round, or of the difference if the figure is absolute
	Verdict Verdict
}

// Compare compares a figure of a way with that of another one, round by round. A round in which one of them is missing does
// not count, nor does a ratio to zero.
func (d *Document) Compare(pattern, way, against, figure string) Comparison {
	f := lookup(figure)
	mine, theirs := d.values(pattern, way, figure), d.values(pattern, against, figure)
	var all, changes []float64
	for round, value := range mine {
		all = append(all, value)
		if other, ok := theirs[round]; ok {
			changes = append(changes, change(f, value, other))
		}
	}
	c := Comparison{Figure: f, Value: Estimated(all), Change: Estimated(changes)}
	c.Verdict = verdict(f, c.Change)
	return c
}

// values returns a figure by round.
func (d *Document) values(pattern, way, figure string) map[int]float64 {
	values := map[int]float64{}
	for _, s := range d.cell(pattern, way).Samples {
		if v, ok := s.Value(figure); ok {
			values[s.Round] = v
		}
	}
	return values
}

func change(f Figure, value, other float64) float64 {
	if f.Absolute {
		return value - other
	}
	return value / other
}

func verdict(f Figure, change Estimate) Verdict {
	none := 1.0
	if f.Absolute {
		none = 0
	}
	switch {
	case change.Rounds == 0:
		return Unknown
	case change.Rounds < MinRounds || change.Low <= none && none <= change.High:
		return Unclear
	case (change.High < none) == f.Less:
		return Better
	}
	return Worse
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
