package report

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
)

// scale is what an axis of a chart shows.
type scale struct {
	plot.Normalizer
	low, high float64
	ticks     []float64
	format    func(float64) string // of a tick
}

// An axis ends there, whatever is measured, so that no step is lost in rounding.
const smallest, largest = 1e-9, 1e15

// place returns where a value lies, from 0 to 1: at the ends what lies beyond, so that nothing is drawn outside.
func (s scale) place(value float64) float64 {
	return s.Normalize(s.low, s.high, min(max(value, s.low), s.high))
}

// set gives an axis its range and its ticks.
func (s scale) set(a *plot.Axis) {
	a.Min, a.Max, a.Scale = s.low, s.high, s.Normalizer
	var ticks plot.ConstantTicks
	for _, t := range s.ticks {
		ticks = append(ticks, plot.Tick{Value: t, Label: s.format(t)})
	}
	a.Tick.Marker = ticks
}

// logarithmic is a scale of positive values, with a share of its length as room at both ends. Others do not count.
func logarithmic(values []float64, room float64) scale {
	low, high := extent(slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v <= 0 }), 1)
	low, high = min(max(low, smallest), largest), min(max(high, smallest), largest)
	factor := math.Pow(high/low, room) * 1.05
	low, high = low/factor, high*factor
	return scale{plot.LogScale{}, low, high, logTicks(low, high), tickText}
}

// linear is a scale that begins at a value.
func linear(from float64, values []float64) scale {
	_, high := extent(values, from)
	if high-from < smallest {
		high = from + 1
	}
	high = from + (min(high, largest)-from)*1.05
	return scale{plot.LinearScale{}, from, high, evenTicks(from, high), tickText}
}

// counted is a scale from zero that shows few as well as many.
func counted(values []float64) scale {
	s := linear(0, values)
	s.Normalizer = logOfNext{}
	if s.high > 4 {
		s.ticks = append([]float64{0}, slices.DeleteFunc(logTicks(1, s.high), func(t float64) bool { return t != math.Trunc(t) })...)
	}
	return s
}

// logOfNext places a value x by the logarithm of x+1.
type logOfNext struct{}

func (logOfNext) Normalize(low, high, x float64) float64 {
	return plot.LogScale{}.Normalize(low+1, high+1, x+1)
}

// extent returns the lowest and the highest of the values that are finite.
func extent(values []float64, none float64) (low, high float64) {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !finite(v) })
	if len(values) == 0 {
		return none, none
	}
	return slices.Min(values), slices.Max(values)
}

// logTicks are some factors in each decade, and even steps where that gives too few.
func logTicks(low, high float64) (ticks []float64) {
	factors := []float64{1, 2, 5}
	decades := math.Log10(high / low)
	switch {
	case decades < 0.7:
		return evenTicks(low, high)
	case decades > 3.5:
		factors = []float64{1}
	case decades > 1.3:
		factors = []float64{1, 3}
	}
	step := math.Ceil(decades / 6)
	for decade := math.Floor(math.Log10(low)/step) * step; decade <= math.Log10(high); decade += step {
		for _, f := range factors {
			if t := f * math.Pow(10, decade); t >= low && t <= high {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

func evenTicks(low, high float64) (ticks []float64) {
	for _, t := range (plot.DefaultTicks{}).Ticks(low, high) {
		if !t.IsMinor() {
			ticks = append(ticks, t.Value)
		}
	}
	return ticks
}
