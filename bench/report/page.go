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
		"counts": counts, "percent": percent, "lookup": lookup, "decimals": decimals,
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

func counts(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// table has a row for each way that was measured, and a column for each figure that a way has.
type table struct {
	Title   string
	Figures []figure
	Rows    []result
}

func (s section) table(title string, figures []figure) table {
	measured := slices.DeleteFunc(slices.Clone(s.Results), func(r result) bool { return len(r.Cell.Samples) == 0 })
	figures = slices.DeleteFunc(slices.Clone(figures), func(f figure) bool {
		return !slices.ContainsFunc(measured, func(r result) bool { return r.To(f).Value.Rounds > 0 })
	})
	return table{title, figures, measured}
}

// MainTable has the figures that matter.
func (s section) MainTable() table {
	var figures []figure
	for _, name := range s.Figures {
		figures = append(figures, lookup(name))
	}
	return s.table("The figures that matter here", figures)
}

// Tables has one for each group of figures that has some: of all that are known, and then of others that a way has.
func (s section) Tables() (tables []table) {
	all := s.all()
	for _, group := range []string{speed, latency, fairness, others} {
		t := s.table(group, slices.DeleteFunc(slices.Clone(all), func(f figure) bool { return f.Group != group }))
		if len(t.Figures) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}
