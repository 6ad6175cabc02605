package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"
)

// queueChart shows the length of the accept queue over time. Queues that are always empty are named, not drawn.
func (d *Document) queueChart(p Pattern) chart {
	end := d.queueEnd(p)
	about := fmt.Sprintf("The longest queue in each of %d slices of time, median of the rounds.", queueSlices)
	var drawn []series
	var empty []string
	for _, s := range d.series(func(w Way) plotter.XYs { return d.queue(p, w, end) }) {
		if s.highest() > 0 {
			drawn = append(drawn, s)
		} else {
			empty = append(empty, s.way.title())
		}
	}
	if len(drawn) == 0 {
		return chart{}
	}
	if len(empty) > 0 {
		about += " Always empty: " + strings.Join(empty, ", ") + "."
	}
	x := linear(0, []float64{end})
	x.high = end
	return chart{Title: "accept queue over time", About: about, drawing: lineChart{
		series: drawn, x: x, y: counted(heights(drawn)),
		xTitle: "seconds since the round began", yTitle: "connections that wait to be accepted, log scale",
	}}
}

const queueSlices = 60

func (d *Document) queueEnd(p Pattern) (end float64) {
	for _, w := range d.present() {
		for _, s := range d.cell(p.Name, w.Name).Samples {
			for _, point := range s.Queue {
				end = max(end, point.Seconds)
			}
		}
	}
	return end
}

// queue returns the longest queue in each slice of time, as the median of the rounds.
func (d *Document) queue(p Pattern, w Way, end float64) (points plotter.XYs) {
	slicesOf := map[int][]float64{}
	for _, s := range d.cell(p.Name, w.Name).Samples {
		longest := map[int]float64{}
		for _, point := range s.Queue {
			if finite(point.Value) && finite(point.Seconds) && point.Seconds >= 0 && end > 0 {
				i := min(int(point.Seconds/end*queueSlices), queueSlices-1)
				longest[i] = max(longest[i], point.Value)
			}
		}
		for i, v := range longest {
			slicesOf[i] = append(slicesOf[i], v)
		}
	}
	for i, values := range slicesOf {
		points = append(points, plotter.XY{X: (float64(i) + 0.5) * end / queueSlices, Y: Estimated(values).Median})
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	return points
}
