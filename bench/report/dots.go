package report

import (
	"cmp"
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// row is a line of a chart of dots.
type row struct {
	result
	marks []mark
	note  string // at the right
}

// mark is a dot with an interval.
type mark struct {
	Estimate
	shape  shape
	hollow bool
}

const (
	rowHeight = vg.Length(30)
	nameMost  = vg.Length(190)
)

// dotChart has a line for each way: dots with their intervals over the X axis of p, which has its scale, and a line at 1 if there
// is a reference.
func dotChart(c chart, p *plot.Plot, rows []row, reference string) chart {
	if len(rows) == 0 {
		return chart{}
	}
	n := float64(len(rows))
	p.Y.Max = n
	label(&p.Y, nil, nil)
	p.Add(bands(len(rows)), &plotter.Grid{Vertical: stroke("grid", 1)})
	if reference != "" {
		style := lettering("base")
		style.XAlign = draw.XCenter
		p.Add(&plotter.Line{XYs: plotter.XYs{{X: 1, Y: 0}, {X: 1, Y: n}}, LineStyle: stroke("base", 1.5, 5, 3)},
			words(1, n, vg.Point{Y: 6}, style, shorten(style, reference, 1.5*nameMost)))
	}
	var notes vg.Length
	for i, r := range rows {
		rows[i].note = shorten(lettering(r.Way.Kind()), r.note, nameMost)
		notes = max(notes, lettering(r.Way.Kind()).Width(rows[i].note))
	}
	for i, r := range rows {
		y := n - float64(i) - 0.5
		for j, m := range r.marks {
			if m.Rounds > 0 {
				p.Add(m.plotters(p.X, r.ink(), y-0.2*(float64(j)-float64(len(r.marks)-1)/2))...)
			}
		}
		style := lettering(r.Way.Kind())
		style.XAlign, style.YAlign = draw.XRight, draw.YCenter
		p.Add(words(p.X.Min, y, vg.Point{X: -12}, style, shorten(style, r.Way.Title, nameMost)),
			words(p.X.Max, y, vg.Point{X: notes + 16}, style, r.note))
	}
	c.plot, c.height = p, frameSpace+rowHeight*vg.Length(n)
	return c
}

// words are a label at a point of the data.
func words(x, y float64, offset vg.Point, style text.Style, label string) plot.Plotter {
	return &plotter.Labels{XYs: plotter.XYs{{X: x, Y: y}}, Labels: []string{label}, TextStyle: []text.Style{style}, Offset: offset}
}

// plotters are the interval and the dot, or an arrow to what lies beyond the axis.
func (m mark) plotters(x plot.Axis, edge string, y float64) []plot.Plotter {
	g := glyph{m.shape, edge, edge}
	interval := plotter.XYs{{X: within(x, m.Low), Y: y}, {X: within(x, m.High), Y: y}}
	switch {
	case m.Median < x.Min:
		g.shape, interval = leftArrow, nil
	case m.Median > x.Max:
		g.shape, interval = rightArrow, nil
	case m.hollow:
		g.fill = "bg"
	}
	dot := &plotter.Scatter{XYs: plotter.XYs{{X: within(x, m.Median), Y: y}}, GlyphStyle: g.style()}
	return []plot.Plotter{&plotter.Line{XYs: interval, LineStyle: stroke(edge, 2.5)}, dot}
}

// bands are the ground of every other row, over the whole width of a chart.
type bands int

func (b bands) Plot(area draw.Canvas, p *plot.Plot) {
	for i := int(b); i > 0; i -= 2 {
		low, high := area.Y(p.Y.Norm(float64(i-1))), area.Y(p.Y.Norm(float64(i)))
		area.FillPolygon(ink("band"), corners(vg.Rectangle{Min: vg.Point{Y: low}, Max: vg.Point{X: chartWidth, Y: high}}))
	}
}

// ends are all ends of intervals of the ways on the server of the baseline, or of all if there are none.
func ends(rows []row) (values []float64) {
	all := !slices.ContainsFunc(rows, func(r row) bool { return r.Alike })
	for _, r := range rows {
		for _, m := range r.marks {
			if m.Rounds > 0 && (all || r.Alike) {
				values = append(values, m.Low, m.Median, m.High)
			}
		}
	}
	return values
}

// ratios are the rows of a figure compared with that of the baseline.
func (s section) ratios(f figure) (rows []row) {
	for _, r := range s.ranked(f) {
		if c := r.To(f); !c.Self && c.Value.Rounds > 0 {
			m := mark{Estimate: c.Change, hollow: c.Verdict == unclear, shape: r.shape()}
			rows = append(rows, row{r, []mark{m}, cmp.Or(c.RatioText(), "no round to compare")})
		}
	}
	return rows
}

func (s section) ratioChart(f figure, baseline result) chart {
	rows := s.ratios(f)
	p := newPlot(fmt.Sprintf("ratio to %s, log scale; %s", baseline.Way.Title, f.better()))
	logarithmic(&p.X, append(ends(rows), 1), 0.3)
	label(&p.X, logTicks(p.X.Min, p.X.Max), func(v float64) string { return "×" + tickText(v) })
	return dotChart(chart{
		Title: f.Title,
		About: "Dot: median of the ratios in each round. Line: its interval. A hollow dot (~) cannot be told from ×1. An arrow: beyond the axis.",
	}, p, rows, fmt.Sprintf("%s: %s = ×1", baseline.Way.Title, f.withUnit(baseline.To(f).Value.Median)))
}

// figureChart compares a figure with that of the baseline, or shows its values where there is nothing to compare.
func (s section) figureChart(f figure) chart {
	var rows []row
	for _, r := range s.ranked(f) {
		c := r.To(f)
		if c.Self && c.Change.Rounds > 0 && !f.Absolute {
			return s.ratioChart(f, r)
		}
		if c.Value.Rounds > 0 {
			rows = append(rows, row{r, []mark{{Estimate: c.Value, shape: r.shape()}}, f.formatEstimate(c.Value)})
		}
	}
	p := newPlot(f.axis() + "; " + f.better())
	linear(&p.X, 0, ends(rows))
	return dotChart(chart{Title: f.Title, About: "Dot: median of the rounds. Line: its interval. An arrow: beyond the axis."}, p, rows, "")
}

// fairnessChart shows how much more the busiest worker gets than the mean.
func (s section) fairnessChart() chart {
	var rows []row
	f := lookup(RequestsMaxMean)
	for _, r := range s.ranked(f) {
		connections, requests := r.value(ConnectionsMaxMean), r.value(RequestsMaxMean)
		if r.Way.Baseline || connections.Rounds+requests.Rounds == 0 {
			continue // one process shares with nobody
		}
		marks := []mark{{Estimate: connections}, {Estimate: requests, shape: square, hollow: true}}
		rows = append(rows, row{r, marks, f.formatMedian(connections) + " / " + f.formatMedian(requests)})
	}
	p := newPlot("share of the busiest worker, relative to the mean (1 = even)")
	p.Title.Text = "● connections   □ requests"
	linear(&p.X, 1, ends(rows))
	return dotChart(chart{
		Title: "fairness over the workers",
		About: "How much the busiest worker gets, relative to the mean of all: 1 is even, 2 is twice its share. At the right: connections / requests.",
	}, p, rows, "")
}

// ink is the colour of a way in a chart that tells no others apart.
func (r result) ink() string { return cmp.Or(r.Way.Kind(), "other") }

// shape tells without colour what a way is.
func (r result) shape() shape {
	switch {
	case r.Way.Ours:
		return diamond
	case r.Way.Baseline:
		return square
	case !r.Alike:
		return triangle
	}
	return circle
}
