package report

import (
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
)

// An axis ends there, whatever is measured, so that no step is lost in rounding.
const smallest, largest = 1e-9, 1e15

// newPlot has axes without lines: a grid is enough.
func newPlot(xTitle string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	p.X.Label.Text, p.X.Label.TextStyle.Font, p.X.Label.TextStyle.Color = shorten(lettering("muted"), xTitle, chartWidth), lettering("muted").Font, ink("muted")
	p.X.Label.Padding = 5
	p.Title.TextStyle.Font, p.Title.TextStyle.Color, p.Title.Padding = lettering("muted").Font, ink("muted"), 6
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Width, a.Padding, a.Tick.Length = 0, 5, 0
		a.Tick.Label.Font, a.Tick.Label.Color = lettering("muted").Font, ink("muted")
	}
	return p
}

// within keeps a value on an axis, so that nothing is drawn outside.
func within(a plot.Axis, value float64) float64 { return min(max(value, a.Min), a.Max) }

// scale gives an axis what it shows.
func scale(a *plot.Axis, n plot.Normalizer, low, high float64, ticks []float64) {
	a.Scale, a.Min, a.Max = n, low, high
	label(a, ticks, tickText)
}

func label(a *plot.Axis, ticks []float64, text func(float64) string) {
	var marks plot.ConstantTicks
	for _, t := range ticks {
		marks = append(marks, plot.Tick{Value: t, Label: text(t)})
	}
	a.Tick.Marker = marks
}

// logarithmic is a scale of positive values, with a share of its length as room at both ends. Others do not count.
func logarithmic(a *plot.Axis, values []float64, room float64) {
	low, high := extent(slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v <= 0 }), 1)
	low, high = min(max(low, smallest), largest), min(max(high, smallest), largest)
	factor := math.Pow(high/low, room) * 1.05
	scale(a, plot.LogScale{}, low/factor, high*factor, logTicks(low/factor, high*factor))
}

// linear is a scale that begins at a value.
func linear(a *plot.Axis, from float64, values []float64) {
	_, high := extent(values, from)
	if high-from < smallest {
		high = from + 1
	}
	high = from + (min(high, largest)-from)*1.05
	scale(a, plot.LinearScale{}, from, high, evenTicks(from, high))
}

// counted is a scale from zero that shows few as well as many.
func counted(a *plot.Axis, values []float64) {
	linear(a, 0, values)
	a.Scale = logOfNext{}
	if a.Max > 4 {
		whole := slices.DeleteFunc(logTicks(1, a.Max), func(t float64) bool { return t != math.Trunc(t) })
		label(a, append([]float64{0}, whole...), tickText)
	}
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

// tickText has no more digits than it takes.
func tickText(value float64) string {
	if math.Abs(value) >= 1000 {
		return decimals(value, 0)
	}
	return strconv.FormatFloat(value, 'g', 5, 64)
}
