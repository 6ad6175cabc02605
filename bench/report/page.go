package report

import (
	_ "embed" // for the page
	"fmt"
	"html/template"
	"io"
	"slices"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"percent": percent, "decimals": decimals,
		"style": func() template.CSS { return template.CSS(pageStyle) },
		"gib":   func(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<30)) },
	}).Parse(pageText))
)

// WriteHTML writes one page that needs nothing else: no file, no network, no script.
func (d *Document) WriteHTML(w io.Writer) error {
	if err := pageTemplate.Execute(w, d.view()); err != nil {
		return fmt.Errorf("report: write HTML: %w", err)
	}
	return nil
}

// table has a row for each way that was measured, and a column for each figure that a way has.
type table struct {
	Title   string
	Figures []figure
	Rows    []result
}

func (t *table) add(f figure) {
	if slices.ContainsFunc(t.Rows, func(r result) bool { return r.To(f).Value.Rounds > 0 }) {
		t.Figures = append(t.Figures, f)
	}
}

// Tables are that of the figures that matter, and then those of each group that has some: of all figures that are known, and of
// others that a way has.
func (s section) Tables() []table {
	measured := slices.DeleteFunc(slices.Clone(s.Results), func(r result) bool { return len(r.Cell.Samples) == 0 })
	tables := []table{{Title: "The figures that matter here", Rows: measured}}
	for _, name := range s.Figures {
		tables[0].add(lookup(name))
	}
	all := s.all()
	for _, group := range []string{speed, latency, fairness, others} {
		t := table{Title: group, Rows: measured}
		for _, f := range all {
			if f.Group == group {
				t.add(f)
			}
		}
		if len(t.Figures) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}
