package report

import (
	"fmt"
	"html/template"
	"strings"
)

// patternSection is all about a pattern.
type patternSection struct {
	ID, Title, About, Question, Workers string
	Charts                              []figureSVG
	Main                                *figureTable
	Tables                              []figureTable
	Failures                            []failureRow
	Problems                            []string
}

type figureSVG struct {
	Title, About string
	SVG          template.HTML
}

func patternID(i int) string { return fmt.Sprintf("pattern-%d", i+1) }

func (d *Document) section(i int, p Pattern) patternSection {
	s := patternSection{
		ID: patternID(i), Title: p.title(), About: p.About, Question: p.Question,
		Tables: d.allTables(p), Failures: d.failureRows(p), Problems: d.problems(p),
	}
	if p.Workers > 0 {
		s.Workers = fmt.Sprintf("Workers: %d.", p.Workers)
	}
	if main := d.figureTable(p, "The figures that matter here", mainTableFigures(p)); len(main.Heads) > 0 {
		s.Main = &main
	}
	for _, c := range d.charts(p) {
		s.Charts = append(s.Charts, figureSVG{upperFirst(c.title), c.about, c.inline()})
	}
	return s
}

func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	if text[0] == 'p' && strings.ContainsAny(text[1:2], "0123456789") {
		return text // p99 is a name
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
