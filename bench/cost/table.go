package cost

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"gonum.org/v1/gonum/floats"

	"github.com/multinode-go/multinode/bench/cost/roles"
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

// over has one value for all rounds.
func over(head string, format printer, rounds func([]float64) float64, of figure) column {
	return column{head, func(c *contestant) string { return format(rounds(c.figures(of))) }}
}

func middle(head string, format printer, of figure) column { return over(head, format, median, of) }

// quartiles has the middle of values, and their spread with so many decimals as digits has.
func quartiles(head string, format printer, decimals int, values func(*contestant) []float64) []column {
	return []column{
		{head, func(c *contestant) string { return format(median(values(c))) }},
		{"quartiles", func(c *contestant) string { return spread(decimals, values(c)) }},
	}
}

func ratios(head string, format printer, to *contestant, of figure) []column {
	return quartiles(head, format, 3, func(c *contestant) []float64 { return c.ratios(to, of) })
}

// timeRows tells how long each has taken.
func timeRows(all []*contestant) [][]string {
	ms := func(r roles.Result) float64 { return float64(r.Elapsed.Microseconds()) / 1e3 }
	columns := quartiles("median", decimals(2), 3, func(c *contestant) []float64 { return c.figures(ms) })
	return rows(all, append(columns, over("max", decimals(2), floats.Max, ms))...)
}

// figure is a number that a round has shown.
type figure func(roles.Result) float64

func perSecond(r roles.Result) float64    { return float64(r.Requests) / r.Elapsed.Seconds() }
func nsPerRequest(r roles.Result) float64 { return float64(r.Elapsed) / float64(r.Requests) }
func cpuPerRequest(r roles.Result) float64 {
	return microseconds(r.CPU) / float64(r.Requests+r.Uncounted)
}
func p50(r roles.Result) float64 { return microseconds(r.P50) }
func p99(r roles.Result) float64 { return microseconds(r.P99) }

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// versus is a figure of two contestants.
type versus struct {
	name    string
	format  printer
	of      figure
	isCount bool // there is no ratio: it may be 0
}

// versusRows has a row for each figure, with the ratio round by round of the second one to the first.
func versusRows(both []*contestant, figures ...versus) [][]string {
	baseline, ours := both[0], both[1]
	all := [][]string{{"", baseline.name, ours.name, "ratio", "quartiles"}}
	for _, f := range figures {
		row := []string{f.name, f.format(median(baseline.figures(f.of))), f.format(median(ours.figures(f.of))), "", ""}
		if !f.isCount {
			ratio := ours.ratios(baseline, f.of)
			row[3], row[4] = decimals(3)(median(ratio)), spread(3, ratio)
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

// spread returns the lower and the upper quartile, with so many decimals as digits has.
func spread(decimals int, values []float64) string {
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
