package sim

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// metric is something of an outcome that is printed.
type metric struct {
	name   string
	format string // of its mean and of its half-width
	get    func(Outcome) *Estimate
}

var (
	response   = metric{"mean", "%.2f", func(o Outcome) *Estimate { return &o.Response }}
	slowdown   = metric{"slowdown", "%.2f", func(o Outcome) *Estimate { return o.Slowdown }}
	p50        = metric{"p50", "%.2f", func(o Outcome) *Estimate { return &o.P50 }}
	p99        = metric{"p99", "%.1f", func(o Outcome) *Estimate { return &o.P99 }}
	p999       = metric{"p99.9", "%.0f", func(o Outcome) *Estimate { return &o.P999 }}
	longest    = metric{"max", "%.0f", func(o Outcome) *Estimate { return &o.Max }}
	jain       = metric{"Jain", "%.4f", func(o Outcome) *Estimate { return &o.Jain }}
	peak       = metric{"max/mean CPU", "%.3f", func(o Outcome) *Estimate { return &o.Peak }}
	overloaded = metric{"% to overloaded workers", "%.1f", func(o Outcome) *Estimate {
		return &Estimate{100 * o.Overloaded.Mean, 100 * o.Overloaded.HalfWidth}
	}}
)

func (m metric) cell(o Outcome) string {
	e := m.get(o)
	if e == nil {
		return "inf"
	}
	return fmt.Sprintf(m.format+" ±"+m.format, e.Mean, e.HalfWidth)
}

// print prints a table for each metric, or a column for each if there is only one scenario.
func (e Experiment) print(w io.Writer) {
	if e.Axis == "" {
		var header []string
		for _, m := range e.tables {
			header = append(header, m.name)
		}
		e.table(w, e.Title, header, func(row, column int) string { return e.tables[column].cell(e.Cells[row][0].Outcome) })
		return
	}
	for _, m := range e.tables {
		e.table(w, m.name+"; "+e.Title, e.Columns, func(row, column int) string { return m.cell(e.Cells[row][column].Outcome) })
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
