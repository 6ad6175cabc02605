package report

import (
	"fmt"
	"slices"
)

// Agreement is what several runs of a comparison say of each other.
type Agreement struct {
	Pairs int      // of a figure in two runs
	Apart []string // those whose intervals have nothing in common, in words
}

// Agree compares the figures of all ways with those of the baseline, and then what two runs at a time have found. They agree
// when the intervals overlap. Only the main figure of each pattern counts, or all that matter in it.
func Agree(mainOnly bool, runs ...*Document) (a Agreement) {
	for i, first := range runs {
		for j, second := range runs[i+1:] {
			for _, p := range first.Patterns {
				figures := p.Figures
				if mainOnly {
					figures = figures[:min(1, len(figures))]
				}
				for _, w := range first.present() {
					for _, f := range figures {
						a.add([2]int{i + 1, i + j + 2}, p.Name, w.Name, first.change(p.Name, w, f), second.change(p.Name, w, f))
					}
				}
			}
		}
	}
	slices.Sort(a.Apart)
	return a
}

// change compares with the baseline. It has no rounds where there is nothing to compare.
func (d *Document) change(pattern string, w Way, figure string) Comparison {
	if w.Baseline {
		return Comparison{}
	}
	return d.Compare(pattern, w.Name, d.baseline().Name, figure)
}

func (a *Agreement) add(runs [2]int, pattern, way string, first, second Comparison) {
	x, y := first.Change, second.Change
	if x.Rounds < MinRounds || y.Rounds < MinRounds {
		return
	}
	a.Pairs++
	if x.Low > y.High || y.Low > x.High {
		a.Apart = append(a.Apart, fmt.Sprintf("%s, %s, %s: run %d %s, run %d %s", pattern, way, first.Figure.Title,
			runs[0], interval(x), runs[1], interval(y)))
	}
}

func interval(e Estimate) string {
	return fmt.Sprintf("%s (%s to %s)", significant(e.Median), significant(e.Low), significant(e.High))
}
