package report

import (
	"math"
	"slices"
)

// scale maps values to pixels.
type scale struct {
	warp     func(float64) float64 // monotonic: the identity, a logarithm
	low      float64
	high     float64
	from, to float64     // pixels
	choices  [][]float64 // of ticks, the finest ones first
}

// at clamps to the ends, so that nothing is drawn outside.
func (s scale) at(value float64) float64 {
	low, high := s.warp(s.low), s.warp(s.high)
	share := (s.warp(min(max(value, s.low), s.high)) - low) / (high - low)
	return s.from + share*(s.to-s.from)
}

// ticks returns the finest ones whose labels have room, or as many of the coarsest ones as have.
func (s scale) ticks(room func(tick float64) float64) []float64 {
	for _, choice := range s.choices {
		if len(s.roomy(choice, room)) == len(choice) {
			return choice
		}
	}
	return s.roomy(s.choices[len(s.choices)-1], room)
}

// roomy leaves out ticks whose labels would overlap with one before.
func (s scale) roomy(ticks []float64, room func(tick float64) float64) (kept []float64) {
	last := math.Inf(-1)
	for _, t := range ticks {
		place := math.Abs(s.at(t) - s.from)
		if place-room(t)/2 >= last {
			kept, last = append(kept, t), place+room(t)/2
		}
	}
	return kept
}

// logarithmic is a scale of positive values, with some room at both ends. Others do not count.
func logarithmic(values []float64) scale {
	positive := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !finite(v) || v <= 0 })
	low, high := extent(positive, 1)
	low, high = min(max(low, smallest), largest), min(max(high, smallest), largest)
	room := max(math.Log(high/low)*0.06, math.Log(1.1)-math.Log(high/low)/2)
	s := scale{warp: math.Log, low: low / math.Exp(room), high: high * math.Exp(room)}
	s.choices = logTicks(s.low, s.high)
	return s
}

// wider is a logarithmic scale with so much more room at both ends.
func (s scale) wider(share float64) scale {
	factor := math.Pow(s.high/s.low, share)
	s.low, s.high = s.low/factor, s.high*factor
	s.choices = logTicks(s.low, s.high)
	return s
}

// linear is a scale that begins at a value.
func linear(from float64, values []float64) scale {
	_, high := extent(slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !finite(v) }), from)
	if high-from < smallest {
		high = from + 1
	}
	high = min(high, largest)
	s := scale{warp: identity, low: from, high: from + (high-from)*1.05}
	s.choices = evenTicks(s.low, s.high)
	return s
}

// counted is a scale from zero that shows few as well as many.
func counted(values []float64) scale {
	s := linear(0, values)
	s.warp, s.choices = math.Log1p, nil
	for _, choice := range logTicks(1, s.high) {
		whole := slices.DeleteFunc(choice, func(t float64) bool { return t != math.Trunc(t) })
		s.choices = append(s.choices, append([]float64{0}, whole...))
	}
	return s
}

func identity(v float64) float64 { return v }

// An axis ends there, whatever is measured, so that no step is lost in rounding.
const smallest, largest = 1e-9, 1e15

func extent(values []float64, none float64) (low, high float64) {
	if len(values) == 0 {
		return none, none
	}
	return slices.Min(values), slices.Max(values)
}

// logTicks are some factors in each decade, and even steps where that gives too few.
func logTicks(low, high float64) (choices [][]float64) {
	if high/low < 4 {
		choices = evenTicks(low, high)
	}
	for _, factors := range [][]float64{{1, 1.5, 2, 3, 5, 7}, {1, 1.5, 2, 3, 5}, {1, 2, 5}, {1, 3}, {1}} {
		if ticks := decadeTicks(low, high, factors); len(ticks) > 1 {
			choices = append(choices, ticks)
		}
	}
	if len(choices) == 0 {
		choices = evenTicks(low, high)
	}
	return choices
}

func decadeTicks(low, high float64, factors []float64) (ticks []float64) {
	for decade := math.Floor(math.Log10(low)); decade <= math.Log10(high); decade++ {
		for _, f := range factors {
			if t := f * math.Pow(10, decade); t >= low && t <= high {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

func evenTicks(low, high float64) (choices [][]float64) {
	for _, wanted := range []float64{8, 5, 3, 2, 1} {
		choices = append(choices, steps(low, high, wanted))
	}
	return choices
}

// steps are round numbers at even distances, about as many as wanted.
func steps(low, high, wanted float64) (ticks []float64) {
	raw := (high - low) / wanted
	size := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{2, 5, 10} {
		if raw/size > 1.01 {
			size = f * math.Pow(10, math.Floor(math.Log10(raw)))
		}
	}
	for i := math.Ceil(low/size - 1e-9); i*size <= high; i++ {
		ticks = append(ticks, i*size+0) // the sum is never a negative zero
	}
	return ticks
}
