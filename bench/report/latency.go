package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// latencyChart shows the latency by percentile.
func (d *Document) latencyChart(p Pattern) chart {
	all := d.series(func(w Way) []position { return d.latencies(p, w) })
	if len(all) == 0 {
		return chart{}
	}
	xs, ys := coordinates(all)
	for i := range all {
		all[i].marked = len(all[i].points) <= manyPoints
	}
	r := plot{series: all, y: logarithmic(ys), yTick: tickText, yTitle: "latency, ms, log scale", xTitle: "percentile of the requests; max is the slowest one"}
	last := slices.Max(xs)
	r.x = scale{warp: identity, low: min(slices.Min(xs), nines(0.5)), high: max(last, 1)}
	var ticks []float64
	for _, share := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999} {
		if nines(share) < last-0.4 {
			ticks = append(ticks, nines(share))
		}
	}
	r.x.choices = [][]float64{append(ticks, last)}
	r.xTick = func(x float64) string {
		if x == last {
			return "max"
		}
		return "p" + strconv.FormatFloat(100*(1-math.Pow(10, -x)), 'g', 7, 64)
	}
	c := r.draw()
	c.title = p.title() + ": latency by percentile"
	c.about = "Further right: rarer, slower requests. The lower line is better. Each point is the median of the rounds."
	return c
}

const manyPoints = 8

func identity(v float64) float64 { return v }

// nines is where a share lies on the axis of percentiles.
func nines(share float64) float64 { return -math.Log10(1 - share) }

// latencies returns the medians over the rounds by percentile. The slowest request lies one decade beyond the rarest share.
func (d *Document) latencies(p Pattern, w Way) (points []position) {
	values := map[float64][]float64{}
	for _, s := range d.cell(p.Name, w.Name).Samples {
		for _, q := range s.quantiles() {
			if q.Share >= 0 && q.Share <= 1 && finite(q.Milliseconds) && q.Milliseconds > 0 {
				values[q.Share] = append(values[q.Share], q.Milliseconds)
			}
		}
	}
	rarest := 0.9
	for share := range values {
		if share < 1 {
			rarest = max(rarest, share)
		}
	}
	for share, v := range values {
		x := nines(share)
		if share == 1 {
			x = math.Ceil(nines(rarest)-1e-6) + 1
		}
		points = append(points, position{x, Estimated(v).Median})
	}
	slices.SortFunc(points, func(a, b position) int { return cmp.Compare(a.x, b.x) })
	return points
}

// quantiles are those of the figures where there are no others.
func (s Sample) quantiles() []Quantile {
	if len(s.Latency) > 0 {
		return s.Latency
	}
	var quantiles []Quantile
	for _, q := range []struct {
		share  float64
		figure string
	}{{0.5, P50}, {0.9, P90}, {0.99, P99}, {0.999, P999}, {1, Max}} {
		if value, ok := s.Value(q.figure); ok {
			quantiles = append(quantiles, Quantile{q.share, value})
		}
	}
	return quantiles
}
