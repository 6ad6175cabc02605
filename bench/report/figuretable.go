package report

import (
	"maps"
	"slices"
)

// figureTable has a row for each way and a column for each figure.
type figureTable struct {
	Title string
	Heads []string
	Rows  []figureRow
}

type figureRow struct {
	Kind, Way string
	Cells     []figureCell
}

type figureCell struct {
	Text, Spread string // the value, and below it its ratio with the interval, or its own interval
	Verdict      Verdict
}

func mainTableFigures(p Pattern) (figures []Figure) {
	for _, name := range p.Figures {
		figures = append(figures, lookup(name))
	}
	return figures
}

// figureTable leaves out figures and ways that have no value.
func (d *Document) figureTable(p Pattern, title string, figures []Figure) figureTable {
	t := figureTable{Title: title}
	figures = slices.DeleteFunc(slices.Clone(figures), func(f Figure) bool { return !d.measured(p, f) })
	for _, f := range figures {
		t.Heads = append(t.Heads, f.Short)
	}
	for _, w := range d.present() {
		if len(d.cell(p.Name, w.Name).Samples) > 0 {
			t.Rows = append(t.Rows, figureRow{w.kind(), w.title(), d.figureCells(p, w, figures)})
		}
	}
	return t
}

func (d *Document) measured(p Pattern, f Figure) bool {
	return slices.ContainsFunc(d.present(), func(w Way) bool { return len(d.values(p.Name, w.Name, f.Name)) > 0 })
}

func (d *Document) figureCells(p Pattern, w Way, figures []Figure) (cells []figureCell) {
	for _, f := range figures {
		c := d.Compare(p.Name, w.Name, d.baseline().Name, f.Name)
		cell := figureCell{Text: valueText(c)}
		if ratio := ratioText(c, w); ratio != "" {
			cell.Spread, cell.Verdict = "×"+ratio, c.Verdict
		} else if c.Value.Low != c.Value.High {
			cell.Spread = f.Format(c.Value.Low) + "–" + f.Format(c.Value.High)
		}
		cells = append(cells, cell)
	}
	return cells
}

// allTables has one for each group of figures.
func (d *Document) allTables(p Pattern) (tables []figureTable) {
	var groups []string
	figures := map[string][]Figure{}
	for _, f := range d.figures(p) {
		if !slices.Contains(groups, f.Group) {
			groups = append(groups, f.Group)
		}
		figures[f.Group] = append(figures[f.Group], f)
	}
	for _, g := range groups {
		if t := d.figureTable(p, g, figures[g]); len(t.Heads) > 0 && len(t.Rows) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

// figures returns all that are known, and then others that a way has under a pattern.
func (d *Document) figures(p Pattern) []Figure {
	all := Sample{Figures: Figures{}}
	for _, w := range d.present() {
		for _, s := range d.cell(p.Name, w.Name).Samples {
			maps.Copy(all.Figures, s.Figures)
		}
	}
	return all.figures()
}

type failureRow struct{ Way, Kind, Count string }

func (d *Document) failureRows(p Pattern) (rows []failureRow) {
	for _, w := range d.present() {
		kinds := map[string]int64{}
		for _, s := range d.cell(p.Name, w.Name).Samples {
			for kind, n := range s.Failures {
				kinds[kind] += n
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			if kinds[kind] > 0 {
				rows = append(rows, failureRow{w.title(), kind, decimals(float64(kinds[kind]), 0)})
			}
		}
	}
	return rows
}

func (d *Document) problems(p Pattern) (problems []string) {
	for _, w := range d.present() {
		if problem := d.cell(p.Name, w.Name).Problem; problem != "" {
			problems = append(problems, w.title()+": "+problem)
		}
	}
	return problems
}
