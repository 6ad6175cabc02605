package report

import (
	_ "embed" // for the page
	"fmt"
	"html/template"
	"io"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"counts": counts, "percent": percent, "kind": Way.kind, "gib": func(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<30)) },
	}).Parse(pageText))
)

// WriteHTML writes one page that needs nothing else: no file, no network, no script.
func (d *Document) WriteHTML(w io.Writer) error {
	if err := pageTemplate.Execute(w, d.page()); err != nil {
		return fmt.Errorf("report: write HTML: %w", err)
	}
	return nil
}

// page is what page.html shows. Fields that are empty are left out there.
type page struct {
	*Document
	Facts                string
	Style                template.CSS
	Baseline, Ours       string
	Best                 []bestRow
	Overview             *overview
	Rounds, MinRounds    int
	Coverage, ByAccident float64 // that an interval holds the median; one in how many comparisons it does not
	Ways, Missing        []Way
	Patterns             []patternSection
}

func (d *Document) page() page {
	n := d.rounds()
	p := page{
		Document: d, Facts: d.facts(), Style: template.CSS(pageStyle), Baseline: d.baseline().title(), Ours: d.ours().title(),
		Best: d.bestRows(), Overview: d.overview(), Rounds: n, MinRounds: MinRounds, Coverage: Coverage(n), ByAccident: 1 / (1 - Coverage(n)),
		Ways: d.present(), Missing: d.missing(),
	}
	for i, pattern := range d.Patterns {
		p.Patterns = append(p.Patterns, d.section(i, pattern))
	}
	return p
}
