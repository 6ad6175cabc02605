package report

// verdict is what a comparison says.
type verdict string

const (
	unknown verdict = ""        // not measured in the same round
	unclear verdict = "unclear" // the interval holds "no difference", or there are fewer than minRounds
	better  verdict = "better"
	worse   verdict = "worse"
)

// Mark is a verdict in one character.
func (v verdict) Mark() string {
	return map[verdict]string{unclear: "~", better: "▲", worse: "▼"}[v]
}

// comparison is a figure of one way, and how it differs from that of another way.
type comparison struct {
	Figure  figure
	Value   Estimate
	Change  Estimate // of the ratio in each round, or of the difference if the figure is absolute
	Verdict verdict
	Self    bool // the other way is the same
}

// compare compares round by round. A round in which one of them is missing does not count, nor does a ratio to zero.
func compare(f figure, cell, other Cell) comparison {
	theirs := other.values(f)
	var all, changes []float64
	for round, value := range cell.values(f) {
		all = append(all, value)
		against, ok := theirs[round]
		switch {
		case !ok:
		case f.Absolute:
			changes = append(changes, value-against)
		default:
			changes = append(changes, value/against)
		}
	}
	c := comparison{Figure: f, Value: Estimated(all), Change: Estimated(changes), Self: cell.Way == other.Way}
	none := 1.0
	if f.Absolute {
		none = 0
	}
	switch {
	case c.Change.Rounds == 0:
	case c.Change.Rounds < minRounds || c.Change.Low <= none && none <= c.Change.High:
		c.Verdict = unclear
	case (c.Change.High < none) == f.Less:
		c.Verdict = better
	default:
		c.Verdict = worse
	}
	return c
}

// values returns a figure by round.
func (c Cell) values(f figure) map[int]float64 {
	values := map[int]float64{}
	for _, s := range c.Samples {
		if v, ok := s.Value(f.Name); ok {
			values[s.Round] = v
		}
	}
	return values
}

// order puts what is better first: by the ratios if both have one, else by the values. What is missing comes last.
func order(x, y comparison) int {
	a, b := x.Value, y.Value
	if !x.Figure.Absolute && x.Change.Rounds > 0 && y.Change.Rounds > 0 {
		a, b = x.Change, y.Change
	}
	switch {
	case a.Rounds == 0 || b.Rounds == 0:
		return min(b.Rounds, 1) - min(a.Rounds, 1)
	case a.Median == b.Median:
		return 0
	case (a.Median < b.Median) == x.Figure.Less:
		return -1
	}
	return 1
}

// What is shown of a comparison.

// ValueText is the median.
func (c comparison) ValueText() string { return c.Figure.formatMedian(c.Value) }

// RatioText is empty where there is nothing to compare.
func (c comparison) RatioText() string {
	if c.Figure.Absolute || c.Self || c.Verdict == unknown {
		return ""
	}
	return formatRatio(c.Change) + " " + c.Verdict.Mark()
}

// ChangeText is the ratio, or the difference, without its interval: the charts have that.
func (c comparison) ChangeText() string {
	if c.Verdict == unknown {
		return "– "
	}
	return c.sign() + c.Figure.format(c.Change.Median) + " " + c.Verdict.Mark()
}

// sign says what the change is: a ratio, or a difference.
func (c comparison) sign() string {
	switch {
	case !c.Figure.Absolute:
		return "×"
	case c.Change.Median > 0:
		return "+"
	}
	return ""
}

// SpreadText is the ratio with its interval, or the interval of the value where there is none.
func (c comparison) SpreadText() string {
	if ratio := c.RatioText(); ratio != "" {
		return "×" + ratio
	}
	if c.Value.Low != c.Value.High {
		return c.Figure.interval(c.Value)
	}
	return ""
}
