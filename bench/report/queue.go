package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// queueChart shows the length of the accept queue over time. Queues that are always empty are named, not drawn.
func (d *Document) queueChart(p Pattern) chart {
	end := d.queueEnd(p)
	all := d.series(func(w Way) []position { return d.queue(p, w, end) })
	empty := emptyQueues(all)
	all = slices.DeleteFunc(all, isEmpty)
	if len(all) == 0 {
		return chart{}
	}
	_, ys := coordinates(all)
	r := plot{
		series: all, x: linear(0, []float64{end}), y: counted(ys), xTick: tickText, yTick: tickText,
		xTitle: "seconds since the round began", yTitle: "connections that wait to be accepted, log scale",
	}
	r.x.high = end
	c := r.draw()
	c.title = p.title() + ": accept queue over time"
	c.about = fmt.Sprintf("The longest queue in each of %d slices of time, median of the rounds.%s", queueSlices, empty)
	return c
}

func isEmpty(s series) bool {
	return !slices.ContainsFunc(s.points, func(p position) bool { return p.y > 0 })
}

func emptyQueues(all []series) string {
	var names []string
	for _, s := range all {
		if isEmpty(s) {
			names = append(names, s.way.title())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " Always empty: " + strings.Join(names, ", ") + "."
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
func (d *Document) queue(p Pattern, w Way, end float64) (points []position) {
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
		points = append(points, position{(float64(i) + 0.5) * end / queueSlices, Estimated(values).Median})
	}
	slices.SortFunc(points, func(a, b position) int { return cmp.Compare(a.x, b.x) })
	return points
}
