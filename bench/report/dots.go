package report

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// dotChart has a line for each way: dots with their intervals over a common axis.
type dotChart struct {
	rows      []row
	set       func(a *plot.Axis, values []float64) // gives the axis its scale
	axis      string
	reference string // what the line at 1 is; there is none if empty
	legend    string
}

type row struct {
	way   Way
	alike bool
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
	rowHeight  = vg.Length(30)
	frameSpace = vg.Length(58) // above and below what is in an area
	nameMost   = vg.Length(190)
)

func (d dotChart) empty() bool { return len(d.rows) == 0 }

func (d dotChart) height() vg.Length { return frameSpace + rowHeight*vg.Length(len(d.rows)) }

func (d dotChart) draw(c draw.Canvas) { d.plot().Draw(c) }

func (d dotChart) plot() *plot.Plot {
	p := newPlot(shorten(lettering("muted"), d.axis, chartWidth))
	p.Title.Text = d.legend
	d.set(&p.X, d.values())
	n := float64(len(d.rows))
	scale(&p.Y, plot.LinearScale{}, 0, n, nil)
	p.Add(bands(len(d.rows)), &plotter.Grid{Vertical: stroke("grid", 1)})
	if d.reference != "" {
		style := lettering("base")
		style.XAlign = draw.XCenter
		p.Add(&plotter.Line{XYs: plotter.XYs{{X: 1, Y: 0}, {X: 1, Y: n}}, LineStyle: stroke("base", 1.5, 5, 3)},
			words(1, n, vg.Point{Y: 6}, style, shorten(style, d.reference, 1.5*nameMost)))
	}
	var notes vg.Length
	for _, r := range d.rows {
		notes = max(notes, lettering(r.way.Kind()).Width(r.shownNote()))
	}
	for i, r := range d.rows {
		y := n - float64(i) - 0.5
		for j, m := range r.marks {
			if m.Rounds > 0 {
				p.Add(m.plotters(p.X, r.way.ink(), y-0.2*(float64(j)-float64(len(r.marks)-1)/2))...)
			}
		}
		style := lettering(r.way.Kind())
		style.XAlign, style.YAlign = draw.XRight, draw.YCenter
		p.Add(words(p.X.Min, y, vg.Point{X: -12}, style, shorten(style, r.way.Title, nameMost)),
			words(p.X.Max, y, vg.Point{X: notes + 16}, style, r.shownNote()))
	}
	return p
}

func (r row) shownNote() string { return shorten(lettering(r.way.Kind()), r.note, nameMost) }

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

// ink is the colour of a way in a chart that tells no others apart.
func (w Way) ink() string {
	if w.Kind() == "" {
		return "other"
	}
	return w.Kind()
}

// values are all ends of intervals of the ways on the server of the baseline, or of all if there are none.
func (d dotChart) values() (values []float64) {
	all := !slices.ContainsFunc(d.rows, func(r row) bool { return r.alike })
	for _, r := range d.rows {
		for _, m := range r.marks {
			if m.Rounds > 0 && (all || r.alike) {
				values = append(values, m.Low, m.Median, m.High)
			}
		}
	}
	return values
}

// figureChart compares a figure with that of the baseline, or shows its values where there is nothing to compare.
func (s section) figureChart(f figure) chart {
	hasBaseline := func(r result) bool { return r.Way.Baseline && r.To(f).Change.Rounds > 0 }
	if !f.Absolute && slices.ContainsFunc(s.Results, hasBaseline) {
		return s.ratioChart(f)
	}
	d := dotChart{axis: f.axis() + "; " + f.better(), set: func(a *plot.Axis, values []float64) { linear(a, 0, values) }}
	for _, r := range s.ranked(f) {
		if e := r.To(f).Value; e.Rounds > 0 {
			d.rows = append(d.rows, row{r.Way, r.Alike, []mark{{Estimate: e, shape: r.shape()}}, f.formatEstimate(e)})
		}
	}
	return chart{Title: f.Title, drawing: d, About: "Dot: median of the rounds. Line: its interval. An arrow: beyond the axis."}
}

func (s section) ratioChart(f figure) chart {
	d := dotChart{set: func(a *plot.Axis, values []float64) {
		logarithmic(a, append(values, 1), 0.3)
		label(a, logTicks(a.Min, a.Max), func(v float64) string { return "×" + tickText(v) })
	}}
	for _, r := range s.ranked(f) {
		c := r.To(f)
		if c.Self {
			d.reference = fmt.Sprintf("%s: %s = ×1", r.Way.Title, f.withUnit(c.Value.Median))
			d.axis = fmt.Sprintf("ratio to %s, log scale; %s", r.Way.Title, f.better())
		}
		if c.Self || c.Value.Rounds == 0 {
			continue
		}
		note := "no round to compare"
		if c.Change.Rounds > 0 {
			note = c.RatioText()
		}
		m := mark{Estimate: c.Change, hollow: c.Verdict == unclear, shape: r.shape()}
		d.rows = append(d.rows, row{r.Way, r.Alike, []mark{m}, note})
	}
	return chart{
		Title: f.Title, drawing: d,
		About: "Dot: median of the ratios in each round. Line: its interval. A hollow dot (~) cannot be told from ×1. An arrow: beyond the axis.",
	}
}

// fairnessChart shows how much more the busiest worker gets than the mean.
func (s section) fairnessChart() chart {
	d := dotChart{
		axis: "share of the busiest worker, relative to the mean (1 = even)", legend: "● connections   □ requests",
		set: func(a *plot.Axis, values []float64) { linear(a, 1, values) },
	}
	f := lookup(RequestsMaxMean)
	for _, r := range s.ranked(f) {
		connections, requests := r.value(ConnectionsMaxMean), r.value(RequestsMaxMean)
		if r.Way.Baseline || connections.Rounds+requests.Rounds == 0 {
			continue // one process shares with nobody
		}
		marks := []mark{{Estimate: connections}, {Estimate: requests, shape: square, hollow: true}}
		d.rows = append(d.rows, row{r.Way, r.Alike, marks, f.formatMedian(connections) + " / " + f.formatMedian(requests)})
	}
	return chart{
		Title: "fairness over the workers", drawing: d,
		About: "How much the busiest worker gets, relative to the mean of all: 1 is even, 2 is twice its share. At the right: connections / requests.",
	}
}

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
