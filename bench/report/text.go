package report

import (
	_ "embed" // for the words
	"fmt"
	"io"
	"strings"
	"text/template"
	"unicode/utf8"
)

// textWidth is the width of a terminal's table in characters.
const textWidth = 110

var (
	//go:embed text.tmpl
	textText string

	textTemplate = template.Must(template.New("text").Funcs(template.FuncMap{"percent": percent, "plain": plain}).Parse(textText))
)

// WriteText writes a table for each pattern, as wide as a terminal. It shows the figures that matter there as far as there is
// room: those that can be compared with their ratio and its interval.
func (d *Document) WriteText(w io.Writer) error {
	if err := textTemplate.Execute(w, d.view()); err != nil {
		return fmt.Errorf("report: write text: %w", err)
	}
	return nil
}

// plain keeps text on its line, and a terminal from being steered by it.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

func percent(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }

// TextTable has a row for each way.
func (s section) TextTable() string {
	names := []string{""}
	for _, r := range s.Results {
		name := plain(r.Way.Name)
		if r.Failed() {
			name += " !"
		}
		names = append(names, name)
	}
	rows := beside(make([]string, len(names)), names, "%-*s")
	for _, name := range s.Figures {
		more := rows
		for _, column := range s.columns(lookup(name)) {
			more = beside(more, column, "  %*s")
		}
		if utf8.RuneCountInString(more[0]) <= textWidth {
			rows = more
		}
	}
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	return b.String()
}

// columns returns that of the values, and that of the ratios if the figure has some.
func (s section) columns(f figure) [][]string {
	values, ratios := []string{plain(f.Short)}, []string{"ratio"}
	for _, r := range s.Results {
		c := r.To(f)
		values, ratios = append(values, c.ValueText()), append(ratios, c.RatioText())
	}
	if strings.Join(ratios[1:], "") == "" {
		return [][]string{values}
	}
	return [][]string{values, ratios}
}

// beside sets a column beside rows, in a format for its width and a cell.
func beside(rows, column []string, format string) (wider []string) {
	width := 0
	for _, cell := range column {
		width = max(width, utf8.RuneCountInString(cell))
	}
	for i, row := range rows {
		wider = append(wider, row+fmt.Sprintf(format, width, column[i]))
	}
	return wider
}
