package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// view is what is shown of a document, computed once: the text, the page and the charts are made from it. In it, what has no
// title has its name as the title.
type view struct {
	Document
	Baseline, Ours       Way   // zero if there is none: ours is the default of this project
	Ways, Missing        []Way // those that were measured, and those that were skipped
	Sections             []section
	Rounds, MinRounds    int
	LeftOut              int      // rounds beyond each end of an interval
	Coverage, ByAccident float64  // that an interval holds the median; one in how many comparisons it does not
	Summary, Losses      []string // what was found for our default; where it is behind
}

// section is a pattern and its results.
type section struct {
	Pattern
	ID      string // for links to it
	Main    figure // that which matters most
	Results []result
	finding
}

// result is what one way did under a pattern.
type result struct {
	Way      Way
	Cell     Cell
	Alike    bool // it has the server of the baseline, or there is no baseline
	baseline Cell
}

// finding is what the main figure of a pattern says. A way that fails requests in half of the rounds does not count unless all
// do: what fails is often fast.
type finding struct {
	Best, Any found      // the best of those on the server of the baseline, and of all; zero if nothing was measured
	Tied      []Way      // those on the server of the baseline that cannot be told from the best
	Ours      comparison // of our default, with the baseline
	ToBest    comparison // of our default, with the best; unclear if it is tied
}

// found is a result, compared with the baseline.
type found struct {
	result
	comparison
}

func (d *Document) view() view {
	v := view{Document: *d, MinRounds: minRounds}
	for _, c := range d.Cells {
		v.Rounds = max(v.Rounds, len(c.Samples))
	}
	v.LeftOut = leftOut(v.Rounds)
	v.Coverage = coverage(v.Rounds, v.LeftOut)
	v.ByAccident = 1 / (1 - v.Coverage)
	for _, w := range d.Ways {
		w.Title = cmp.Or(w.Title, w.Name)
		if w.Missing != "" {
			v.Missing = append(v.Missing, w)
			continue
		}
		v.Ways = append(v.Ways, w)
		if w.Baseline && v.Baseline.Name == "" {
			v.Baseline = w
		}
		if w.Ours && v.Ours.Name == "" {
			v.Ours = w
		}
	}
	for i, p := range d.Patterns {
		v.Sections = append(v.Sections, v.section(p, i+1))
	}
	v.summarize()
	return v
}

func (v *view) section(p Pattern, number int) section {
	p.Title = cmp.Or(p.Title, p.Name)
	s := section{Pattern: p, ID: fmt.Sprintf("pattern-%d", number), Main: lookup(RequestsPerSecond)}
	if len(p.Figures) > 0 {
		s.Main = lookup(p.Figures[0])
	}
	cells := map[string]Cell{}
	for _, c := range v.Cells {
		if c.Pattern == p.Name {
			cells[c.Way] = c
		}
	}
	for _, w := range v.Ways {
		c := cells[w.Name]
		c.Way = w.Name
		alike := v.Baseline.Name == "" || w.Server == v.Baseline.Server
		s.Results = append(s.Results, result{Way: w, Cell: c, Alike: alike, baseline: cells[v.Baseline.Name]})
	}
	s.find(cells[v.Ours.Name])
	return s
}

// To compares a figure with that of the baseline.
func (r result) To(f figure) comparison { return compare(f, r.Cell, r.baseline) }

// value is the estimate of a figure.
func (r result) value(figure string) Estimate { return compare(lookup(figure), r.Cell, r.Cell).Value }

// Failed says that some requests failed.
func (r result) Failed() bool { return r.value(Failures).High > 0 }

// Failures are counts of requests by kind.
func (r result) Failures() map[string]float64 {
	kinds := map[string]float64{}
	for _, s := range r.Cell.Samples {
		for kind, n := range s.Failures {
			if n > 0 {
				kinds[kind] += float64(n)
			}
		}
	}
	return kinds
}

// Kind is the class of a way.
func (w Way) Kind() string {
	switch {
	case w.Ours:
		return "ours"
	case w.Baseline:
		return "base"
	}
	return ""
}

// find sets the finding of a section.
func (s *section) find(ours Cell) {
	counting := slices.DeleteFunc(s.ranked(s.Main), func(r result) bool { return r.To(s.Main).Value.Rounds == 0 })
	sound := slices.DeleteFunc(slices.Clone(counting), func(r result) bool { return r.value(Failures).Median > 0 })
	if len(sound) > 0 {
		counting = sound
	}
	if len(counting) == 0 {
		return
	}
	s.Any = found{counting[0], counting[0].To(s.Main)}
	alike := slices.DeleteFunc(counting, func(r result) bool { return !r.Alike })
	if len(alike) == 0 {
		return
	}
	best := alike[0]
	s.Best = found{best, best.To(s.Main)}
	for _, r := range s.Results {
		isAlike := slices.ContainsFunc(alike[1:], func(a result) bool { return a.Way.Name == r.Way.Name })
		if isAlike && compare(s.Main, r.Cell, best.Cell).Verdict == unclear {
			s.Tied = append(s.Tied, r.Way)
		}
	}
	s.Ours = compare(s.Main, ours, best.baseline)
	s.ToBest = compare(s.Main, ours, best.Cell)
}

// ranked puts the best of a figure first.
func (s section) ranked(f figure) []result {
	return slices.SortedStableFunc(slices.Values(s.Results), func(a, b result) int { return order(a.To(f), b.To(f)) })
}

// all returns the figures that a way has: those that are known, and then the others.
func (s section) all() []figure {
	names := map[string]float64{}
	for _, r := range s.Results {
		for _, sample := range r.Cell.Samples {
			maps.Copy(names, sample.Figures)
		}
	}
	return Sample{Figures: names}.figures()
}

// summarize says in a few sentences what was found for our default, if there is one and a baseline.
func (v *view) summarize() {
	count := map[verdict]int{}
	var best, tied, behind int
	for _, s := range v.Sections {
		count[s.Ours.Verdict]++
		switch {
		case s.Best.Way.Name == "":
		case s.Best.Way.Name == v.Ours.Name:
			best++
		case s.ToBest.Verdict == unclear:
			tied++
		case s.ToBest.Verdict != unknown:
			behind++
		}
		if s.ToBest.Verdict == worse {
			by := formatRatio(s.ToBest.Change)
			if s.Main.Absolute {
				by = s.Main.formatEstimate(s.ToBest.Change)
			}
			v.Losses = append(v.Losses, fmt.Sprintf("%s: %s is %s relative to %s", s.Title, s.Main.Title, s.ToBest.sign()+by, s.Best.Way.Title))
		}
	}
	if v.Baseline.Name == "" || v.Ours.Name == "" {
		return
	}
	text := fmt.Sprintf("%s compared with %s, by the main figure of each pattern: better in %d of %d, worse in %d, no clear difference in %d",
		v.Ours.Title, v.Baseline.Title, count[better], len(v.Sections), count[worse], count[unclear])
	if n := count[unknown]; n > 0 {
		text += fmt.Sprintf(", not measured in %d", n)
	}
	v.Summary = []string{text + ".", fmt.Sprintf("%s compared with the best way on the same server: it is the best in %d, "+
		"cannot be told from the best in %d, and is behind in %d.", v.Ours.Title, best, tied, behind)}
}
