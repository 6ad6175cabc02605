package report

import (
	_ "embed" // for the words
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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
	columns := [][]string{names}
	text, _ := align(columns)
	for _, name := range s.Figures {
		more := append(slices.Clip(columns), s.columns(lookup(name))...)
		if aligned, width := align(more); width <= textWidth {
			columns, text = more, aligned
		}
	}
	return text
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

// gap separates columns.
const gap = 2

// align sets columns beside each other: the first one begins at the left, the others end at the right.
func align(columns [][]string) (text string, width int) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, gap, ' ', tabwriter.AlignRight)
	names := 0
	for _, name := range columns[0] {
		names = max(names, utf8.RuneCountInString(name))
	}
	for row := range columns[0] {
		fmt.Fprintf(w, "%-*s\t", names, columns[0][row])
		for _, column := range columns[1:] {
			fmt.Fprint(w, column[row], "\t")
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // a Builder does not fail
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line[gap:], " \n")
		text, width = text+line+"\n", max(width, utf8.RuneCountInString(line))
	}
	return text, width
}
