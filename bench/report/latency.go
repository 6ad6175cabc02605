package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// latencyChart shows the latency by percentile.
func (d *Document) latencyChart(p Pattern) chart {
	slowest := d.slowest(p)
	all := d.series(func(w Way) plotter.XYs { return d.latencies(p, w, slowest) })
	if len(all) == 0 {
		return chart{}
	}
	low := nines(0.5)
	for _, s := range all {
		low = min(low, s.points[0].X)
	}
	return chart{
		Title: "latency by percentile",
		About: "Further right: rarer, slower requests. The lower line is better. Each point is the median of the rounds.",
		drawing: lineChart{
			series: all, x: percentiles(low, slowest), y: logarithmic(heights(all), 0.06),
			xTitle: "percentile of the requests; max is the slowest one", yTitle: "latency, ms, log scale",
		},
	}
}

// percentiles is a scale with a tick for each nine.
func percentiles(low, slowest float64) scale {
	s := scale{plot.LinearScale{}, low, slowest, nil, func(x float64) string {
		if x == slowest {
			return "max"
		}
		return "p" + strconv.FormatFloat(100*(1-math.Pow(10, -x)), 'g', 7, 64)
	}}
	for _, share := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999} {
		if nines(share) < slowest-0.4 {
			s.ticks = append(s.ticks, nines(share))
		}
	}
	s.ticks = append(s.ticks, slowest)
	return s
}

// nines is where a share lies on the axis of percentiles.
func nines(share float64) float64 { return -math.Log10(1 - share) }

// latencies returns the medians over the rounds by percentile, with the slowest request at a place of its own.
func (d *Document) latencies(p Pattern, w Way, slowest float64) (points plotter.XYs) {
	values := map[float64][]float64{}
	for _, q := range d.quantiles(p, w) {
		values[q.Share] = append(values[q.Share], q.Milliseconds)
	}
	for share, v := range values {
		points = append(points, plotter.XY{X: min(nines(share), slowest), Y: Estimated(v).Median})
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	return points
}

// slowest returns the place of the slowest request: a decade beyond the rarest share of all ways.
func (d *Document) slowest(p Pattern) float64 {
	rarest := nines(0.9)
	for _, w := range d.present() {
		for _, q := range d.quantiles(p, w) {
			if q.Share < 1 {
				rarest = max(rarest, nines(q.Share))
			}
		}
	}
	return math.Ceil(rarest-1e-6) + 1
}

// quantiles returns those of all rounds that can be drawn.
func (d *Document) quantiles(p Pattern, w Way) (quantiles []Quantile) {
	for _, s := range d.cell(p.Name, w.Name).Samples {
		for _, q := range s.Latency {
			if q.Share >= 0 && q.Share <= 1 && finite(q.Milliseconds) && q.Milliseconds > 0 {
				quantiles = append(quantiles, q)
			}
		}
	}
	return quantiles
}
