package report

import "strings"

// bestRow is a [Finding] in words.
type bestRow struct {
	ID, Pattern, Figure string
	Best, Ours, Any     wayCell
	Tied                string
	OursToBest          changeCell
}

// wayCell is a way with its value, and how that compares with the baseline.
type wayCell struct {
	Kind, Way, Value string
	Change           changeCell
}

// changeCell is how a figure compares with another one.
type changeCell struct {
	Text    string
	Verdict Verdict
	Failed  bool
}

func (d *Document) bestRows() (rows []bestRow) {
	for i, f := range d.Findings() {
		if f.Any.Name == "" {
			continue
		}
		var tied []string
		for _, w := range f.Tied {
			tied = append(tied, w.title())
		}
		rows = append(rows, bestRow{
			ID: patternID(i), Pattern: f.Pattern.title(), Figure: f.Figure.Short, Tied: strings.Join(tied, "; "),
			Best: wayCellOf(f.Best, f.Value), Ours: wayCellOf(d.ours(), f.Ours), Any: wayCellOf(f.Any, f.ToAny), OursToBest: cellOf(f.ToBest),
		})
	}
	return rows
}

func wayCellOf(w Way, c Comparison) wayCell {
	cell := wayCell{w.kind(), w.title(), valueText(c), cellOf(c)}
	if w.Baseline {
		cell.Change = changeCell{}
	}
	return cell
}

// cellOf is the ratio, or the difference, without its interval: the charts have that.
func cellOf(c Comparison) changeCell {
	switch {
	case c.Verdict == Unknown:
		return changeCell{Text: "–"}
	case c.Figure.Absolute && c.Change.Median > 0:
		return changeCell{Text: "+" + c.Figure.Format(c.Change.Median), Verdict: c.Verdict}
	case c.Figure.Absolute:
		return changeCell{Text: c.Figure.Format(c.Change.Median), Verdict: c.Verdict}
	}
	return changeCell{Text: "×" + significant(c.Change.Median), Verdict: c.Verdict}
}

// overview has a row for each way and a column for each pattern.
type overview struct {
	Heads []overviewHead
	Rows  []overviewRow
}

type overviewHead struct{ Title, Figure string }

type overviewRow struct {
	Kind, Way string
	Cells     []changeCell
}

// overview returns nil if there is nothing to compare with.
func (d *Document) overview() *overview {
	baseline := d.baseline()
	if baseline.Name == "" || len(d.Patterns) == 0 {
		return nil
	}
	var o overview
	for _, p := range d.Patterns {
		o.Heads = append(o.Heads, overviewHead{p.title(), p.main().Short})
	}
	for _, w := range d.present() {
		row := overviewRow{Kind: w.kind(), Way: w.title()}
		for _, p := range d.Patterns {
			cell := d.overviewCell(p, w, baseline)
			row.Cells = append(row.Cells, cell)
		}
		o.Rows = append(o.Rows, row)
	}
	return &o
}

func (d *Document) overviewCell(p Pattern, w, baseline Way) changeCell {
	c := d.Compare(p.Name, w.Name, baseline.Name, p.main().Name)
	cell := cellOf(c)
	if w.Baseline && c.Value.Rounds > 0 {
		cell = changeCell{Text: valueText(c)}
	}
	cell.Failed = d.failures(p, w).High > 0
	return cell
}
