package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// lineChart has a line for each way, and their names at the right in the order in which the lines end.
type lineChart struct {
	series         []series
	set            func(x, y *plot.Axis) // gives the axes their scales
	xTitle, yTitle string
}

type series struct {
	way    Way
	number int // among those of its kind
	points plotter.XYs
}

const (
	linesHeight = vg.Length(260) // of the area of the lines, or more if there are many
	nameHeight  = vg.Length(17)
	keyWidth    = vg.Length(26) // of the piece of a line beside its name
)

func (l lineChart) empty() bool { return len(l.series) == 0 }

func (l lineChart) height() vg.Length {
	return frameSpace + max(linesHeight, nameHeight*vg.Length(len(l.series)))
}

func (l lineChart) draw(c draw.Canvas) {
	p := newPlot(l.xTitle)
	p.Title.Text = l.yTitle
	l.set(&p.X, &p.Y)
	p.Add(&plotter.Grid{Vertical: stroke("grid", 1), Horizontal: stroke("grid", 1)})
	var keys []plot.Legend
	var width vg.Length
	for _, s := range l.series {
		line, dots := s.plotters(p)
		p.Add(line, dots)
		key := plot.NewLegend()
		key.TextStyle, key.ThumbnailWidth, key.Left, key.Top = lettering(s.way.Kind()), keyWidth, true, true
		key.Add(shorten(key.TextStyle, s.way.Title, nameMost), line, dots)
		keys, width = append(keys, key), max(width, key.Rectangle(c).Size().X)
	}
	p.Draw(draw.Crop(c, 0, -width-8, 0, 0))
	pitch := min((c.Size().Y-frameSpace)/vg.Length(len(keys)), 1.5*nameHeight)
	for place, i := range l.byEnd() {
		keys[i].YOffs = -frameSpace/3 - pitch*vg.Length(place)
		keys[i].Draw(draw.Crop(c, c.Size().X-width, 0, 0, 0))
	}
}

// byEnd returns which line ends highest, and so on.
func (l lineChart) byEnd() (order []int) {
	for i := range l.series {
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := l.series[i], l.series[j]
		return cmp.Or(cmp.Compare(b.end().Y, a.end().Y), cmp.Compare(b.highest(), a.highest()))
	})
	return order
}

const manyPoints = 8

// plotters are the line, and a dot at each point if there are few, else at the end.
func (s series) plotters(p *plot.Plot) (*plotter.Line, *plotter.Scatter) {
	var shown plotter.XYs
	for _, point := range s.points {
		shown = append(shown, plotter.XY{X: within(p.X, point.X), Y: within(p.Y, point.Y)})
	}
	style, g := s.style()
	line := &plotter.Line{XYs: shown, LineStyle: style}
	if len(shown) > manyPoints {
		shown = shown[len(shown)-1:]
	}
	return line, &plotter.Scatter{XYs: shown, GlyphStyle: g.style()}
}

// Six colours and three dashes tell eighteen ways apart.
var (
	seriesInks   = []string{"s0", "s1", "s2", "s3", "s4", "s5"}
	seriesDashes = [][]vg.Length{nil, {6, 3}, {2, 3}}
	seriesShapes = []shape{circle, triangle, square}
)

func (s series) style() (draw.LineStyle, glyph) {
	kind := s.way.Kind()
	switch kind {
	case "ours":
		return stroke(kind, 3, seriesDashes[s.number%len(seriesDashes)]...), glyph{diamond, "bg", kind}
	case "base":
		return stroke(kind, 2.5, 7, 4), glyph{square, "bg", kind}
	}
	name, cycle := seriesInks[s.number%len(seriesInks)], s.number/len(seriesInks)%len(seriesDashes)
	return stroke(name, 1.75, seriesDashes[cycle]...), glyph{seriesShapes[cycle], "bg", name}
}

func (s series) end() plotter.XY { return s.points[len(s.points)-1] }

func (s series) highest() float64 {
	_, _, _, highest := plotter.XYRange(s.points)
	return highest
}

// series returns a line for each way that has points, our default last and so above the others.
func (s section) series(points func(Cell) plotter.XYs) (all []series) {
	numbers := map[string]int{}
	for _, r := range s.Results {
		kind := r.Way.Kind()
		line := series{way: r.Way, number: numbers[kind], points: points(r.Cell)}
		numbers[kind]++
		if len(line.points) > 0 {
			all = append(all, line)
		}
	}
	depth := func(s series) int {
		if s.way.Ours {
			return math.MaxInt - s.number
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b series) int { return cmp.Compare(depth(a), depth(b)) })
	return all
}

func heights(all []series) (ys []float64) {
	for _, s := range all {
		for _, p := range s.points {
			ys = append(ys, p.Y)
		}
	}
	return ys
}

// medians returns the median of the values at each place.
func medians(values map[float64][]float64) (points plotter.XYs) {
	for x, v := range values {
		points = append(points, plotter.XY{X: x, Y: Estimated(v).Median})
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	return points
}

// latencyChart shows the latency by percentile.
func (s section) latencyChart() chart {
	slowest := s.slowest()
	all := s.series(func(c Cell) plotter.XYs {
		values := map[float64][]float64{}
		for _, q := range c.quantiles() {
			x := min(nines(q.Share), slowest)
			values[x] = append(values[x], q.Milliseconds)
		}
		return medians(values)
	})
	return chart{
		Title: "latency by percentile",
		About: "Further right: rarer, slower requests. The lower line is better. Each point is the median of the rounds.",
		drawing: lineChart{
			series: all, xTitle: "percentile; max is the slowest request", yTitle: "latency, ms, log scale",
			set: func(x, y *plot.Axis) {
				percentiles(x, all, slowest)
				logarithmic(y, heights(all), 0.06)
			},
		},
	}
}

// percentiles is a scale with a tick for each nine.
func percentiles(a *plot.Axis, all []series, slowest float64) {
	low, ticks := nines(0.5), []float64{}
	for _, s := range all {
		low = min(low, s.points[0].X)
	}
	for _, share := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999} {
		if nines(share) < slowest-0.4 {
			ticks = append(ticks, nines(share))
		}
	}
	scale(a, plot.LinearScale{}, low, slowest, nil)
	label(a, append(ticks, slowest), func(x float64) string {
		if x == slowest {
			return "max"
		}
		return "p" + strconv.FormatFloat(100*(1-math.Pow(10, -x)), 'g', 7, 64)
	})
}

// nines is where a share lies on the axis of percentiles.
func nines(share float64) float64 { return -math.Log10(1 - share) }

// slowest returns the place of the slowest request: a decade beyond the rarest share of all ways.
func (s section) slowest() float64 {
	rarest := nines(0.9)
	for _, r := range s.Results {
		for _, q := range r.Cell.quantiles() {
			if q.Share < 1 {
				rarest = max(rarest, nines(q.Share))
			}
		}
	}
	return math.Ceil(rarest-1e-6) + 1
}

// quantiles returns those of all rounds that can be drawn.
func (c Cell) quantiles() (quantiles []Quantile) {
	for _, s := range c.Samples {
		for _, q := range s.Latency {
			if q.Share >= 0 && q.Share <= 1 && finite(q.Milliseconds) && q.Milliseconds > 0 {
				quantiles = append(quantiles, q)
			}
		}
	}
	return quantiles
}

// queueChart shows the length of the accept queue over time. Queues that are always empty are named, not drawn.
func (s section) queueChart() chart {
	end := s.queueEnd()
	about := fmt.Sprintf("The longest queue in each of %d slices of time, median of the rounds.", queueSlices)
	var drawn []series
	var empty []string
	for _, s := range s.series(func(c Cell) plotter.XYs { return c.queue(end) }) {
		if s.highest() > 0 {
			drawn = append(drawn, s)
		} else {
			empty = append(empty, s.way.Title)
		}
	}
	if len(empty) > 0 {
		about += " Always empty: " + strings.Join(empty, ", ") + "."
	}
	return chart{Title: "accept queue over time", About: about, drawing: lineChart{
		series: drawn, xTitle: "seconds since the round began", yTitle: "waiting connections, log scale",
		set: func(x, y *plot.Axis) {
			linear(x, 0, []float64{end})
			x.Max = end
			counted(y, heights(drawn))
		},
	}}
}

const queueSlices = 60

func (s section) queueEnd() (end float64) {
	for _, r := range s.Results {
		for _, sample := range r.Cell.Samples {
			for _, point := range sample.Queue {
				end = max(end, point.Seconds)
			}
		}
	}
	return end
}

// queue returns the longest queue in each slice of time, as the median of the rounds.
func (c Cell) queue(end float64) plotter.XYs {
	slicesOf := map[float64][]float64{}
	for _, s := range c.Samples {
		longest := map[float64]float64{}
		for _, point := range s.Queue {
			if finite(point.Value) && finite(point.Seconds) && point.Seconds >= 0 && end > 0 {
				i := min(math.Floor(point.Seconds/end*queueSlices), queueSlices-1)
				middle := (i + 0.5) * end / queueSlices
				longest[middle] = max(longest[middle], point.Value)
			}
		}
		for middle, v := range longest {
			slicesOf[middle] = append(slicesOf[middle], v)
		}
	}
	return medians(slicesOf)
}
