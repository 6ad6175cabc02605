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

// series is a line of a chart.
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

// lineChart has a line for each way over the axes of p, which have their scales, and the names at the right in the order in which
// the lines end.
func lineChart(c chart, p *plot.Plot, all []series) chart {
	if len(all) == 0 {
		return chart{}
	}
	p.Add(&plotter.Grid{Vertical: stroke("grid", 1), Horizontal: stroke("grid", 1)})
	for _, s := range all {
		line, dots := s.plotters(p)
		p.Add(line, dots)
	}
	all = slices.SortedStableFunc(slices.Values(all), func(a, b series) int {
		return cmp.Or(cmp.Compare(b.points[len(b.points)-1].Y, a.points[len(a.points)-1].Y), cmp.Compare(b.highest(), a.highest()))
	})
	for _, s := range all {
		key := plot.NewLegend()
		key.TextStyle, key.ThumbnailWidth, key.Left, key.Top = lettering(s.way.Kind()), keyWidth, true, true
		line, dots := s.plotters(p)
		key.Add(shorten(key.TextStyle, s.way.Title, nameMost), line, dots)
		c.keys = append(c.keys, key)
	}
	c.plot, c.height = p, frameSpace+max(linesHeight, nameHeight*vg.Length(len(all)))
	return c
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

func (s series) highest() float64 {
	_, _, _, highest := plotter.XYRange(s.points)
	return highest
}

// series returns a line for each way that has values: their medians at each place. Our default comes last, above the others.
func (s section) series(values func(Cell) map[float64][]float64) []series {
	var others, ours []series
	numbers := map[string]int{}
	for _, r := range s.Results {
		line := series{way: r.Way, number: numbers[r.Way.Kind()]}
		numbers[r.Way.Kind()]++
		for x, ys := range values(r.Cell) {
			line.points = append(line.points, plotter.XY{X: x, Y: Estimated(ys).Median})
		}
		slices.SortFunc(line.points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		switch {
		case len(line.points) == 0:
		case r.Way.Ours:
			ours = append([]series{line}, ours...)
		default:
			others = append(others, line)
		}
	}
	return append(others, ours...)
}

// heights are all Y of lines.
func heights(all []series) (ys []float64) {
	for _, s := range all {
		for _, p := range s.points {
			ys = append(ys, p.Y)
		}
	}
	return ys
}

// latencyChart shows the latency by percentile: each nine is a tick, and the slowest request is a decade beyond the rarest share
// of all ways.
func (s section) latencyChart() chart {
	lines := s.series(Cell.latencies)
	least, rarest := nines(0.5), nines(0.9)
	for _, line := range lines {
		least = min(least, line.points[0].X)
		for _, p := range line.points {
			if !math.IsInf(p.X, 1) {
				rarest = max(rarest, p.X)
			}
		}
	}
	slowest := math.Ceil(rarest-1e-6) + 1
	var ticks []float64
	for _, share := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999} {
		if nines(share) < slowest-0.4 {
			ticks = append(ticks, nines(share))
		}
	}
	p := newPlot("percentile; max is the slowest request")
	p.Title.Text = "latency, ms, log scale"
	p.X.Min, p.X.Max = least, slowest
	label(&p.X, append(ticks, slowest), func(x float64) string {
		if x == slowest {
			return "max"
		}
		return "p" + strconv.FormatFloat(100*(1-math.Pow(10, -x)), 'g', 7, 64)
	})
	logarithmic(&p.Y, heights(lines), 0.06)
	return lineChart(chart{
		Title: "latency by percentile",
		About: "Further right: rarer, slower requests. The lower line is better. Each point is the median of the rounds.",
	}, p, lines)
}

// nines is where a share lies on the axis of percentiles; it is infinite for the slowest request.
func nines(share float64) float64 { return -math.Log10(1 - share) }

// latencies are those of all rounds that can be drawn, by place.
func (c Cell) latencies() map[float64][]float64 {
	values := map[float64][]float64{}
	for _, s := range c.Samples {
		for _, q := range s.Latency {
			if q.Share >= 0 && q.Share <= 1 && finite(q.Milliseconds) && q.Milliseconds > 0 {
				values[nines(q.Share)] = append(values[nines(q.Share)], q.Milliseconds)
			}
		}
	}
	return values
}

// queueChart shows the length of the accept queue over time. Queues that are always empty are named, not drawn.
func (s section) queueChart() chart {
	end := s.queueEnd()
	about := fmt.Sprintf("The longest queue in each of %d slices of time, median of the rounds.", queueSlices)
	var drawn []series
	var empty []string
	for _, line := range s.series(func(c Cell) map[float64][]float64 { return c.queues(end) }) {
		if line.highest() > 0 {
			drawn = append(drawn, line)
		} else {
			empty = append(empty, line.way.Title)
		}
	}
	if len(empty) > 0 {
		about += " Always empty: " + strings.Join(empty, ", ") + "."
	}
	p := newPlot("seconds since the round began")
	p.Title.Text = "waiting connections, log scale"
	linear(&p.X, 0, []float64{end})
	p.X.Max = end
	counted(&p.Y, heights(drawn))
	return lineChart(chart{Title: "accept queue over time", About: about}, p, drawn)
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

// queues are the longest queues of all rounds, by the middle of each slice of time.
func (c Cell) queues(end float64) map[float64][]float64 {
	all := map[float64][]float64{}
	for _, s := range c.Samples {
		longest := map[float64]float64{}
		for _, point := range s.Queue {
			if finite(point.Value) && finite(point.Seconds) && point.Seconds >= 0 && end > 0 {
				slice := min(math.Floor(point.Seconds/end*queueSlices), queueSlices-1)
				middle := (slice + 0.5) * end / queueSlices
				longest[middle] = max(longest[middle], point.Value)
			}
		}
		for middle, v := range longest {
			all[middle] = append(all[middle], v)
		}
	}
	return all
}
