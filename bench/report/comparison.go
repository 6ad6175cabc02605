package report

import (
	"fmt"
	"slices"
)

// figureChart compares a figure with that of the baseline, or shows its values where there is nothing to compare.
func (d *Document) figureChart(p Pattern, f Figure) chart {
	if f.Absolute || len(d.values(p.Name, d.baseline().Name, f.Name)) == 0 {
		return d.valueChart(p, f)
	}
	return d.ratioChart(p, f)
}

func (d *Document) ratioChart(p Pattern, f Figure) chart {
	baseline := d.baseline()
	var r dotChart
	for _, w := range d.ranked(p, f) {
		c := d.Compare(p.Name, w.Name, baseline.Name, f.Name)
		if w.Baseline || c.Value.Rounds == 0 {
			continue
		}
		m := mark{Estimate: c.Change, hollow: c.Verdict == Unclear, shape: d.shape(w)}
		r.rows = append(r.rows, row{w, []mark{m}, noteOf(c)})
	}
	if len(r.rows) == 0 {
		return chart{}
	}
	r.x = logarithmic(append(r.values(d.alike), 1), 0.3)
	r.x.format = func(v float64) string { return "×" + tickText(v) }
	base := d.Compare(p.Name, baseline.Name, baseline.Name, f.Name).Value
	r.reference = fmt.Sprintf("%s: %s = ×1", baseline.title(), withUnit(f, base.Median))
	r.axis = fmt.Sprintf("ratio to %s, log scale; %s", baseline.title(), f.better())
	return chart{
		Title: f.Title, drawing: r,
		About: "Dot: median of the ratios in each round. Line: its interval. A hollow dot (~) cannot be told from ×1. An arrow: beyond the axis.",
	}
}

func (d *Document) valueChart(p Pattern, f Figure) chart {
	var r dotChart
	for _, w := range d.ranked(p, f) {
		if e := d.Compare(p.Name, w.Name, w.Name, f.Name).Value; e.Rounds > 0 {
			r.rows = append(r.rows, row{w, []mark{{Estimate: e, shape: d.shape(w)}}, f.FormatEstimate(e)})
		}
	}
	if len(r.rows) == 0 {
		return chart{}
	}
	r.x = linear(0, r.values(d.alike))
	r.axis = f.axis() + "; " + f.better()
	return chart{Title: f.Title, drawing: r, About: "Dot: median of the rounds. Line: its interval. An arrow: beyond the axis."}
}

// isFairness says that the figure has a place in the fairness chart.
func (f Figure) isFairness() bool { return f.Name == ConnectionsMaxMean || f.Name == RequestsMaxMean }

// fairnessChart shows how much more the busiest worker gets than the mean.
func (d *Document) fairnessChart(p Pattern) chart {
	r := dotChart{legend: []mark{{label: "connections", shape: circle}, {label: "requests", shape: square, hollow: true}}}
	for _, w := range d.ranked(p, lookup(RequestsMaxMean)) {
		connections := d.Compare(p.Name, w.Name, w.Name, ConnectionsMaxMean).Value
		requests := d.Compare(p.Name, w.Name, w.Name, RequestsMaxMean).Value
		if w.Baseline || connections.Rounds+requests.Rounds == 0 {
			continue // one process shares with nobody
		}
		f := lookup(RequestsMaxMean)
		note := shortNumber(f, connections) + " / " + shortNumber(f, requests)
		r.rows = append(r.rows, row{w, []mark{{Estimate: connections}, {Estimate: requests, shape: square, hollow: true}}, note})
	}
	if len(r.rows) == 0 {
		return chart{}
	}
	r.x = linear(1, r.values(d.alike))
	r.axis = "share of the busiest worker, relative to the mean (1 = even)"
	return chart{
		Title: "fairness over the workers", drawing: r,
		About: "How much the busiest worker gets, relative to the mean of all: 1 is even, 2 is twice its share. At the right: connections / requests.",
	}
}

func shortNumber(f Figure, e Estimate) string {
	if e.Rounds == 0 {
		return "–"
	}
	return f.Format(e.Median)
}

// shape tells without colour what a way is.
func (d *Document) shape(w Way) shape {
	switch {
	case w.Ours:
		return diamond
	case w.Baseline:
		return square
	case !d.alike(w):
		return triangle
	}
	return circle
}

func noteOf(c Comparison) string {
	if c.Change.Rounds == 0 {
		return "no round to compare"
	}
	return formatRatio(c.Change) + " " + c.Verdict.Mark()
}

func withUnit(f Figure, value float64) string {
	if f.Unit == "1/s" {
		return f.Format(value) + "/s"
	}
	return f.Format(value) + " " + f.Unit
}

// ranked puts the best of a figure first.
func (d *Document) ranked(p Pattern, f Figure) []Way {
	ways := d.present()
	slices.SortStableFunc(ways, func(a, b Way) int { return d.order(p, f, a, b) })
	return ways
}
