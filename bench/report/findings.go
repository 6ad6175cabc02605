package report

import "slices"

// Finding is what the main figure of a pattern says.
type Finding struct {
	Pattern Pattern
	Figure  Figure
	Best    Found      // of those that count and have the server of the baseline; zero if nothing was measured
	Tied    []Way      // those of them that cannot be told from the best
	Any     Found      // the best of all that count, with whatever server
	Ours    Comparison // of our default, with the baseline
	ToBest  Comparison // of our default, with the best; Unclear if it is tied
}

// Found is a way, compared with the baseline.
type Found struct {
	Way
	Comparison
}

// Findings returns one for each pattern. A way that fails requests in half of the rounds does not count unless all do: what
// fails is often fast.
func (d *Document) Findings() []Finding {
	var findings []Finding
	for _, p := range d.Patterns {
		findings = append(findings, d.finding(p))
	}
	return findings
}

func (d *Document) finding(p Pattern) Finding {
	f := Finding{Pattern: p, Figure: p.main()}
	ways := d.counting(p)
	if len(ways) == 0 {
		return f
	}
	baseline, ours := d.baseline(), d.ours()
	best := func(ways []Way) Found {
		w := slices.MinFunc(ways, func(a, b Way) int { return d.order(p, f.Figure, a, b) })
		return Found{w, d.Compare(p.Name, w.Name, baseline.Name, f.Figure.Name)}
	}
	f.Any = best(ways)
	ways = slices.DeleteFunc(ways, func(w Way) bool { return !d.alike(w) })
	if len(ways) == 0 {
		return f
	}
	f.Best = best(ways)
	for _, w := range ways {
		if w.Name != f.Best.Name && d.Compare(p.Name, w.Name, f.Best.Name, f.Figure.Name).Verdict == Unclear {
			f.Tied = append(f.Tied, w)
		}
	}
	f.Ours = d.Compare(p.Name, ours.Name, baseline.Name, f.Figure.Name)
	f.ToBest = d.Compare(p.Name, ours.Name, f.Best.Name, f.Figure.Name)
	return f
}

// alike says that a way has the server of the baseline, or that there is none.
func (d *Document) alike(w Way) bool {
	baseline := d.baseline()
	return baseline.Name == "" || w.Server == baseline.Server
}

// counting returns the ways that can be the best of a pattern.
func (d *Document) counting(p Pattern) []Way {
	measured := slices.DeleteFunc(d.present(), func(w Way) bool { return len(d.values(p.Name, w.Name, p.main().Name)) == 0 })
	sound := slices.DeleteFunc(slices.Clone(measured), func(w Way) bool { return d.failures(p, w).Median > 0 })
	if len(sound) == 0 {
		return measured
	}
	return sound
}

func (d *Document) failures(p Pattern, w Way) Estimate {
	return d.Compare(p.Name, w.Name, w.Name, Failures).Value
}

// order puts the better way first, by its ratio to the baseline if both have one, else by its value.
func (d *Document) order(p Pattern, f Figure, a, b Way) int {
	x, y := d.Compare(p.Name, a.Name, d.baseline().Name, f.Name), d.Compare(p.Name, b.Name, d.baseline().Name, f.Name)
	left, right := x.Value, y.Value
	if !f.Absolute && x.Change.Rounds > 0 && y.Change.Rounds > 0 {
		left, right = x.Change, y.Change
	}
	return orderEstimates(f, left, right)
}

// orderEstimates puts what is missing last.
func orderEstimates(f Figure, a, b Estimate) int {
	switch {
	case a.Rounds == 0 || b.Rounds == 0:
		return min(b.Rounds, 1) - min(a.Rounds, 1)
	case a.Median == b.Median:
		return 0
	case (a.Median < b.Median) == f.Less:
		return -1
	}
	return 1
}
