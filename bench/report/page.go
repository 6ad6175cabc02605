package report

import (
	_ "embed" // for the page
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"counts": counts, "percent": percent, "kind": Way.kind, "main": Pattern.main, "value": valueText, "change": changeCell,
		"title": func(t interface{ title() string }) string { return t.title() },
		"gib":   func(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<30)) },
	}).Parse(pageText))
)

// WriteHTML writes one page that needs nothing else: no file, no network, no script.
func (d *Document) WriteHTML(w io.Writer) error {
	if err := pageTemplate.Execute(w, d.page()); err != nil {
		return fmt.Errorf("report: write HTML: %w", err)
	}
	return nil
}

// page is what page.html and text.tmpl show.
type page struct {
	*Document
	Style                template.CSS
	Baseline, Ours       Way
	Rounds, MinRounds    int
	LeftOut              int     // rounds beyond each end of an interval
	Coverage, ByAccident float64 // that an interval holds the median; one in how many comparisons it does not
	Ways, Missing        []Way
	Best                 []Finding // of patterns under which something was measured
}

func (d *Document) page() page {
	n := d.rounds()
	return page{
		Document: d, Style: template.CSS(pageStyle), Baseline: d.baseline(), Ours: d.ours(), Rounds: n, LeftOut: leftOut(n), MinRounds: MinRounds,
		Coverage: Coverage(n), ByAccident: 1 / (1 - Coverage(n)), Ways: d.present(), Missing: d.missing(),
		Best: slices.DeleteFunc(d.Findings(), func(f Finding) bool { return f.Any.Name == "" }),
	}
}

// ID is for links to a pattern.
func (p page) ID(pattern Pattern) string {
	return fmt.Sprintf("pattern-%d", 1+slices.IndexFunc(p.Patterns, func(other Pattern) bool { return other.Name == pattern.Name }))
}

func counts(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// cell is a value of a way, or how it compares with another one.
type cell struct {
	Text    string
	Spread  string // below the value: its ratio with the interval, or its own interval
	Verdict Verdict
	Failed  bool // some requests failed
}

// changeCell is the ratio, or the difference, without its interval: the charts have that.
func changeCell(c Comparison) cell {
	switch {
	case c.Verdict == Unknown:
		return cell{Text: "–"}
	case !c.Figure.Absolute:
		return cell{Text: "×" + significant(c.Change.Median), Verdict: c.Verdict}
	}
	return cell{Text: signed(c.Figure.Format(c.Change.Median), c), Verdict: c.Verdict}
}

// Overview is the cell of a way under a pattern among all others.
func (p page) Overview(pattern Pattern, w Way) cell {
	c := p.Compare(pattern.Name, w.Name, p.Baseline.Name, pattern.main().Name)
	shown := changeCell(c)
	if w.Baseline && c.Value.Rounds > 0 {
		shown = cell{Text: valueText(c)}
	}
	shown.Failed = p.failures(pattern, w).High > 0
	return shown
}

// table has a row for each way that was measured, and a column for each figure that a way has.
type table struct {
	Title   string
	Figures []Figure
	Rows    []tableRow
}

type tableRow struct {
	Way   Way
	Cells []cell
}

func (p page) table(pattern Pattern, title string, figures []Figure) table {
	t := table{Title: title}
	for _, f := range figures {
		if slices.ContainsFunc(p.Ways, func(w Way) bool { return len(p.values(pattern.Name, w.Name, f.Name)) > 0 }) {
			t.Figures = append(t.Figures, f)
		}
	}
	for _, w := range p.Ways {
		if len(p.cell(pattern.Name, w.Name).Samples) == 0 {
			continue
		}
		row := tableRow{Way: w}
		for _, f := range t.Figures {
			row.Cells = append(row.Cells, figureCell(p.Compare(pattern.Name, w.Name, p.Baseline.Name, f.Name), w))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func figureCell(c Comparison, w Way) cell {
	shown := cell{Text: valueText(c)}
	if ratio := ratioText(c, w); ratio != "" {
		shown.Spread, shown.Verdict = "×"+ratio, c.Verdict
	} else if c.Value.Low != c.Value.High {
		shown.Spread = c.Figure.Format(c.Value.Low) + "–" + c.Figure.Format(c.Value.High)
	}
	return shown
}

// MainTable has the figures that matter.
func (p page) MainTable(pattern Pattern) table {
	var figures []Figure
	for _, name := range pattern.Figures {
		figures = append(figures, lookup(name))
	}
	return p.table(pattern, "The figures that matter here", figures)
}

// Tables has one for each group of figures: of all that are known, and then of others that a way has.
func (p page) Tables(pattern Pattern) (tables []table) {
	all := Sample{Figures: Figures{}}
	for _, w := range p.Ways {
		for _, s := range p.cell(pattern.Name, w.Name).Samples {
			maps.Copy(all.Figures, s.Figures)
		}
	}
	figures := all.figures()
	for _, group := range []string{speed, latency, fairness, others} {
		t := p.table(pattern, group, slices.DeleteFunc(slices.Clone(figures), func(f Figure) bool { return f.Group != group }))
		if len(t.Figures) > 0 && len(t.Rows) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

// failed is how many requests of a way failed, in one way.
type failed struct{ Way, Kind, Count string }

// Failed returns the failures of all rounds.
func (p page) Failed(pattern Pattern) (rows []failed) {
	for _, w := range p.Ways {
		kinds := map[string]int64{}
		for _, s := range p.cell(pattern.Name, w.Name).Samples {
			for kind, n := range s.Failures {
				kinds[kind] += n
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			if kinds[kind] > 0 {
				rows = append(rows, failed{w.title(), kind, decimals(float64(kinds[kind]), 0)})
			}
		}
	}
	return rows
}

// Problems says what could not be measured.
func (p page) Problems(pattern Pattern) (problems []string) {
	for _, w := range p.Ways {
		if problem := p.cell(pattern.Name, w.Name).Problem; problem != "" {
			problems = append(problems, w.title()+": "+problem)
		}
	}
	return problems
}

// Charts returns those that have something to show.
func (p page) Charts(pattern Pattern) []chart { return p.charts(pattern) }
