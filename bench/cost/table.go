package cost

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// table prints rows under a title.
func table(w io.Writer, title string, rows ...[]string) {
	fmt.Fprintln(w, title)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		for _, cell := range row {
			fmt.Fprintf(out, "%s\t", cell)
		}
		fmt.Fprintln(out)
	}
	_ = out.Flush() // its writer is ours
	fmt.Fprintln(w)
}

// column is what a table shows of each contestant.
type column struct {
	head string
	cell func(*contestant) string
}

// rows has a row for each contestant, below the heads.
func rows(contestants []*contestant, columns ...column) [][]string {
	all := [][]string{{""}}
	for _, col := range columns {
		all[0] = append(all[0], col.head)
	}
	for _, c := range contestants {
		row := []string{c.name}
		for _, col := range columns {
			row = append(row, col.cell(c))
		}
		all = append(all, row)
	}
	return all
}

func middle(head string, format printer, of figure) column {
	return column{head, func(c *contestant) string { return format(median(c.figures(of))) }}
}

// summed has the sum over all rounds.
func summed(head string, of figure) column {
	return column{head, func(c *contestant) string {
		var all float64
		for _, v := range c.figures(of) {
			all += v
		}
		return decimals(0)(all)
	}}
}

// quartiles has the middle of values, and their spread with so many decimals as digits has.
func quartiles(head string, format printer, decimals int, values func(*contestant) []float64) []column {
	return []column{
		{head, func(c *contestant) string { return format(median(values(c))) }},
		{"quartiles", func(c *contestant) string { return spreadTo(decimals, values(c)) }},
	}
}

func ratios(head string, format printer, to *contestant, of figure) []column {
	return quartiles(head, format, 3, func(c *contestant) []float64 { return c.ratios(to, of) })
}

var timeHead = []string{"", "median", "quartiles", "max"}

func timeRow(name string, times []float64) []string {
	return []string{name, decimals(2)(median(times)), spread(times), decimals(2)(slices.Max(times))}
}

// versus is a figure of two contestants.
type versus struct {
	name    string
	format  printer
	of      figure
	isCount bool // there is no ratio: it may be 0
}

// versusRows has a row for each figure, with the ratio round by round.
func versusRows(baseline, ours *contestant, figures ...versus) [][]string {
	all := [][]string{{"", baseline.name, ours.name, "ratio", "quartiles"}}
	for _, f := range figures {
		row := []string{f.name, f.format(median(baseline.figures(f.of))), f.format(median(ours.figures(f.of))), "", ""}
		if ratio := ours.ratios(baseline, f.of); !f.isCount {
			row[3], row[4] = decimals(3)(median(ratio)), spread(ratio)
		}
		all = append(all, row)
	}
	return all
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread returns the lower and the upper quartile.
func spread(values []float64) string { return spreadTo(3, values) }

// spreadTo is spread, with so many decimals as digits has.
func spreadTo(decimals int, values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return digits(decimals, sorted[n/4]) + " to " + digits(decimals, sorted[(3*n-1)/4])
}

// printer prints a number.
type printer func(float64) string

func decimals(n int) printer {
	return func(v float64) string { return strconv.FormatFloat(v, 'f', n, 64) }
}

// significant prints as digits does.
func significant(n int) printer { return func(v float64) string { return digits(n, v) } }

// digits prints so many decimals, and more where fewer than three digits would be seen.
func digits(decimals int, v float64) string {
	if v != 0 {
		decimals = max(decimals, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
