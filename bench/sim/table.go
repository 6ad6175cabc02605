package sim

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printed says under which name a metric is printed, how its mean and its half-width are, and in which unit.
var printed = map[Metric]struct {
	name, format string
	unit         float64
}{
	Response: {"mean", "%.2f", 1}, Slowdown: {"slowdown", "%.2f", 1}, P50: {"p50", "%.2f", 1}, P99: {"p99", "%.1f", 1},
	P999: {"p99.9", "%.0f", 1}, Max: {"max", "%.0f", 1}, Jain: {"Jain", "%.4f", 1}, Peak: {"max/mean CPU", "%.3f", 1},
	Overloaded: {"% to overloaded workers", "%.1f", 100},
}

func (c Cell) text(m Metric) string {
	e, ok := c.Outcome[m]
	if !ok {
		return "inf"
	}
	p := printed[m]
	return fmt.Sprintf(p.format+" ±"+p.format, p.unit*e.Mean, p.unit*e.HalfWidth)
}

// print prints a table for each metric, or a column for each if there is only one scenario.
func (e Experiment) print(w io.Writer) {
	if e.Axis == "" {
		var header []string
		for _, m := range e.tables {
			header = append(header, printed[m].name)
		}
		e.table(w, e.Title, header, func(row, column int) string { return e.Cells[row][0].text(e.tables[column]) })
		return
	}
	for _, m := range e.tables {
		e.table(w, printed[m].name+"; "+e.Title, e.Columns, func(row, column int) string { return e.Cells[row][column].text(m) })
	}
}

// table prints a row for each policy.
func (e Experiment) table(w io.Writer, title string, header []string, cell func(row, column int) string) {
	fmt.Fprintf(w, "%s: %s\n", e.Name, title)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "%s\t%s\t\n", e.Axis, strings.Join(header, "\t"))
	for row, policy := range e.Policies {
		fmt.Fprintf(out, "%s\t", policy)
		for column := range header {
			fmt.Fprintf(out, "%s\t", cell(row, column))
		}
		fmt.Fprintln(out)
	}
	_ = out.Flush() // its writer is ours
	fmt.Fprintln(w)
}
