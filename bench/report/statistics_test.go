package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEstimated(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name   string
		values []float64
		want   Estimate
	}{
		{"none", nil, Estimate{}},
		{"one", []float64{3}, Estimate{3, 3, 3, 1}},
		{"two", []float64{4, 2}, Estimate{3, 2, 4, 2}},
		{"five", []float64{5, 1, 4, 2, 3}, Estimate{3, 1, 5, 5}},
		{"eight: all", []float64{1, 2, 3, 4, 5, 6, 7, 8}, Estimate{4.5, 1, 8, 8}},
		{"nine: one left out at each end", []float64{9, 8, 7, 6, 5, 4, 3, 2, 1}, Estimate{5, 2, 8, 9}},
		{"missing", []float64{nan, 1, inf, 3, -inf}, Estimate{2, 1, 3, 2}},
		{"only missing", []float64{nan, inf}, Estimate{}},
		{"large", []float64{math.MaxFloat64, math.MaxFloat64}, Estimate{math.MaxFloat64, math.MaxFloat64, math.MaxFloat64, 2}},
	} {
		assert.Equal(t, c.want, Estimated(c.values), c.name)
	}
}

func TestCoverage(t *testing.T) {
	for rounds, want := range map[int]float64{
		0: 0, 1: 0, 2: 0.5, 3: 0.75, 4: 0.875, 5: 0.9375, 6: 0.96875, 8: 0.9921875, 9: 1 - 20.0/512, 12: 1 - 2*(1+12+66)/4096.0,
	} {
		assert.InDelta(t, want, coverage(rounds, leftOut(rounds)), 1e-12, "%d rounds", rounds)
	}
	for rounds := 6; rounds <= 300; rounds++ {
		assert.GreaterOrEqual(t, coverage(rounds, leftOut(rounds)), confidence, "%d rounds", rounds)
		assert.Less(t, coverage(rounds, leftOut(rounds)+1), confidence, "%d rounds: the interval could be narrower", rounds)
	}
}

// The interval holds the median of a skewed distribution about as often as Coverage says. The generator is seeded, so that the
// test cannot fail by chance.
func TestCoverageOfSkewedValues(t *testing.T) {
	const trials = 20000
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, rounds := range []int{5, 9, 20} {
		held := 0
		for range trials {
			values := make([]float64, rounds)
			for i := range values {
				values[i] = rnd.ExpFloat64()
			}
			if e := Estimated(values); e.Low <= math.Ln2 && math.Ln2 <= e.High {
				held++
			}
		}
		assert.InDelta(t, coverage(rounds, leftOut(rounds)), float64(held)/trials, 0.01, "%d rounds", rounds)
	}
}

func TestEstimatedIsInOrderAndDoesNotChangeItsInput(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		values := make([]float64, 1+rnd.IntN(30))
		for i := range values {
			values[i] = rnd.NormFloat64()
		}
		before := slices.Clone(values)
		e := Estimated(values)
		assert.Equal(t, before, values)
		assert.LessOrEqual(t, e.Low, e.Median)
		assert.LessOrEqual(t, e.Median, e.High)
		slices.Reverse(values)
		assert.Equal(t, e, Estimated(values))
	}
}

func TestFairness(t *testing.T) {
	for _, c := range []struct {
		counts                   []float64
		maxMean, jain, deviation float64
	}{
		{[]float64{5}, 1, 1, 0},
		{[]float64{2, 2, 2, 2}, 1, 1, 0},
		{[]float64{8, 0, 0, 0}, 4, 0.25, math.Sqrt(3)},
		{[]float64{3, 1}, 1.5, 0.8, 0.5},
	} {
		assert.InDelta(t, c.maxMean, MaxMean(c.counts), 1e-12, "%v", c.counts)
		assert.InDelta(t, c.jain, Jain(c.counts), 1e-12, "%v", c.counts)
		assert.InDelta(t, c.deviation, Deviation(c.counts), 1e-12, "%v", c.counts)
	}
	for _, nothing := range [][]float64{nil, {0, 0}} {
		assert.True(t, math.IsNaN(MaxMean(nothing)))
		assert.True(t, math.IsNaN(Jain(nothing)))
		assert.True(t, math.IsNaN(Deviation(nothing)))
	}
}

// Jain's index is 1 / (1 + deviation^2).
func TestJainFollowsDeviation(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		counts := make([]float64, 1+rnd.IntN(16))
		for i := range counts {
			counts[i] = 1 + float64(rnd.IntN(1000))
		}
		d := Deviation(counts)
		assert.InDelta(t, 1/(1+d*d), Jain(counts), 1e-9)
		assert.GreaterOrEqual(t, MaxMean(counts), 1-1e-12)
		assert.LessOrEqual(t, MaxMean(counts), float64(len(counts))+1e-9)
	}
}

// two returns a document in which the rounds of a way and of the baseline have these values.
func two(figure string, baseline, way []float64) *Document {
	return &Document{
		Ways:     []Way{{Name: "base", Baseline: true}, {Name: "way", Ours: true}},
		Patterns: []Pattern{{Name: "p", Figures: []string{figure}}},
		Cells:    []Cell{cellOfValues("base", figure, baseline), cellOfValues("way", figure, way)},
	}
}

func cellOfValues(way, figure string, values []float64) Cell {
	c := Cell{Pattern: "p", Way: way}
	for i, v := range values {
		c.Samples = append(c.Samples, Sample{Round: i + 1, Figures: Figures{figure: v}})
	}
	return c
}

func TestCompareTakesRatiosWithinARound(t *testing.T) {
	// the machine is slower and slower: the values overlap, the ratios do not
	c := two(RequestsPerSecond, []float64{100, 80, 60, 40, 20}, []float64{110, 88, 66, 44, 22}).view().Sections[0].Results[1].To(lookup(RequestsPerSecond))
	assert.Equal(t, better, c.Verdict)
	assert.InDelta(t, 66, c.Value.Median, 1e-9)
	assert.InDelta(t, 1.1, c.Change.Low, 1e-9)
	assert.InDelta(t, 1.1, c.Change.High, 1e-9)
}

func TestVerdict(t *testing.T) {
	ones := []float64{1, 1, 1, 1, 1}
	zeros := []float64{0, 0, 0, 0, 0}
	for _, c := range []struct {
		name, figure  string
		baseline, way []float64
		want          verdict
	}{
		{"more requests", RequestsPerSecond, ones, []float64{1.1, 1.2, 1.3, 1.4, 1.5}, better},
		{"fewer requests", RequestsPerSecond, ones, []float64{0.9, 0.8, 0.7, 0.6, 0.5}, worse},
		{"longer latency", P99, ones, []float64{1.1, 1.2, 1.3, 1.4, 1.5}, worse},
		{"shorter latency", P99, ones, []float64{0.9, 0.8, 0.7, 0.6, 0.5}, better},
		{"spread over 1", P99, ones, []float64{0.9, 2, 2, 2, 2}, unclear},
		{"touches 1", P99, ones, []float64{1, 2, 2, 2, 2}, unclear},
		{"four rounds", P99, ones[1:], []float64{2, 2, 2, 2}, unclear},
		{"a round missing", P99, []float64{1, math.NaN(), 1, 1, 1}, []float64{2, 2, 2, 2, 2}, unclear},
		{"no round in common", P99, nil, ones, unknown},
		{"ratio to zero", P99, zeros, ones, unknown},
		{"more failures than none", Failures, zeros, ones, worse},
		{"no failure at all", Failures, zeros, zeros, unclear},
		{"fewer failures", Failures, ones, zeros, better},
		{"more even", RequestsJain, []float64{.5, .5, .5, .5, .5}, ones, better},
	} {
		got := two(c.figure, c.baseline, c.way).view().Sections[0].Results[1].To(lookup(c.figure))
		assert.Equal(t, c.want, got.Verdict, c.name)
	}
}

func TestFailuresAreCountedFromTheirKinds(t *testing.T) {
	n, ok := Sample{Failures: map[string]int64{"refused": 2, "reset": 3}}.Value(Failures)
	assert.True(t, ok)
	assert.InDelta(t, 5, n, 0)
	n, ok = Sample{Figures: Figures{Failures: 7}}.Value(Failures)
	assert.True(t, ok)
	assert.InDelta(t, 7, n, 0)
	_, ok = Sample{}.Value(P99)
	assert.False(t, ok)
}

func TestFindings(t *testing.T) {
	d := two(P99, []float64{1, 1, 1, 1, 1}, []float64{1.1, 1.2, 1.3, 1.4, 1.5})
	d.Ways = append(d.Ways, Way{Name: "other", Server: "nginx"}, Way{Name: "failing"}, Way{Name: "skipped", Missing: "not installed"})
	failing := cellOfValues("failing", P99, []float64{.1, .1, .1, .1, .1})
	for i := range failing.Samples {
		failing.Samples[i].Failures = map[string]int64{"refused": 1}
	}
	d.Cells = append(d.Cells, cellOfValues("other", P99, []float64{.5, .5, .5, .5, .5}), failing)
	v := d.view()
	require.Len(t, v.Sections, 1)
	f := v.Sections[0]
	assert.Equal(t, "base", f.Best.Way.Name, "neither the one on another server nor the one that fails")
	assert.Equal(t, "other", f.Any.Way.Name)
	assert.Empty(t, f.Tied)
	assert.Equal(t, worse, f.Ours.Verdict)
	assert.Equal(t, worse, f.ToBest.Verdict)
	require.Len(t, v.Losses, 1)
	assert.Contains(t, v.Losses[0], "×1.30 (1.10–1.50) relative to base")
	assert.Contains(t, v.Summary[0], "better in 0 of 1, worse in 1")
	assert.Contains(t, v.Summary[1], "behind in 1")
}

func TestFindingsCountAllWaysWhereAllFail(t *testing.T) {
	d := two(Failures, []float64{5, 5, 5, 5, 5}, []float64{2, 2, 2, 2, 2})
	f := d.view().Sections[0]
	assert.Equal(t, "way", f.Best.Way.Name)
	assert.Equal(t, better, f.Best.Verdict)
}

func TestSummaryNeedsSomethingToCompare(t *testing.T) {
	assert.Empty(t, new(Document).view().Summary)
	assert.Empty(t, new(Document).view().Losses)
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		figure string
		value  float64
		want   string
	}{
		{RequestsPerSecond, 1234567.8, "1,234,568"},
		{P99, 12.34, "12.3"},
		{P99, 1.234, "1.23"},
		{P99, 0.1234, "0.123"},
		{P99, 0, "0"},
		{P99, 0.9999, "1.00"},
		{P99, 9.9999, "10.0"},
		{P99, 99.99, "100"},
		{Failures, 3, "3"},
		{Failures, 2.5, "2.50"},
		{QueueMax, -1234, "−1,234"},
		{P99, math.NaN(), "–"},
		{"unknown", 5, "5.00"},
	} {
		assert.Equal(t, c.want, lookup(c.figure).format(c.value), "%s %v", c.figure, c.value)
	}
	assert.Equal(t, "1.08 (1.05–1.11)", formatRatio(Estimate{1.08, 1.05, 1.11, 5}))
	assert.Equal(t, "1.004 (1.001–1.007)", formatRatio(Estimate{1.004, 1.001, 1.007, 5}))
	assert.Equal(t, "12.3 (8.10–16.4)", formatRatio(Estimate{12.3, 8.1, 16.4, 5}))
}

func TestFigureNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range figures {
		assert.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
	}
}
