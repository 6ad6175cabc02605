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
			theirs := second.changes(mainOnly)
			for what, x := range first.changes(mainOnly) {
				y, both := theirs[what]
				if !both {
					continue
				}
				a.Pairs++
				if x.Low > y.High || y.Low > x.High {
					a.Apart = append(a.Apart, fmt.Sprintf("%s: run %d %s, run %d %s", what, i+1, formatRatio(x), i+j+2, formatRatio(y)))
				}
			}
		}
	}
	slices.Sort(a.Apart)
	return a
}

// changes returns the changes that enough rounds tell, by pattern, way and figure.
func (d *Document) changes(mainOnly bool) map[string]Estimate {
	changes := map[string]Estimate{}
	for _, s := range d.view().Sections {
		figures := s.Figures
		if mainOnly {
			figures = figures[:min(1, len(figures))]
		}
		for _, r := range s.Results {
			for _, f := range figures {
				if c := r.To(lookup(f)); !c.Self && c.Change.Rounds >= minRounds {
					changes[fmt.Sprintf("%s, %s, %s", s.Name, r.Way.Name, c.Figure.Title)] = c.Change
				}
			}
		}
	}
	return changes
}
