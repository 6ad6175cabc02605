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

	pageTemplate = template.Must(template.New("page").Parse(pageText))
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
	Title, Question, Facts string
	Style                  template.CSS
	Baseline, Ours         string
	Summary, Losses        []string
	Best                   []bestRow
	Overview               *overview
	Legend                 string
	Reading                []word
	Ways                   []wayRow
	Missing                []wayRow
	Patterns               []patternSection
	Machine                []fact
	Notes                  []string
	Glossary               []word
}

func (d *Document) page() page {
	p := page{
		Title: d.Title, Question: d.question(), Facts: d.facts(), Style: template.CSS(pageStyle + chartStyle),
		Summary: d.Summary(), Losses: d.Losses(), Best: d.bestRows(), Overview: d.overview(), Legend: overviewLegend, Reading: d.reading(),
		Machine: d.machineFacts(), Notes: d.Notes, Glossary: glossary(),
	}
	p.Baseline, p.Ours = d.baseline().title(), d.ours().title()
	for _, w := range d.present() {
		p.Ways = append(p.Ways, rowOf(w))
	}
	for _, w := range d.missing() {
		p.Missing = append(p.Missing, rowOf(w))
	}
	for i, pattern := range d.Patterns {
		p.Patterns = append(p.Patterns, d.section(i, pattern))
	}
	return p
}

type wayRow struct{ Kind, Title, Name, Server, Version, About, Missing string }

func rowOf(w Way) wayRow {
	return wayRow{w.kind(), w.title(), w.Name, w.Server, w.Version, w.About, w.Missing}
}
