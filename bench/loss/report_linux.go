package loss

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/multinode-go/multinode/bench/load"
)

// report is what a part has found.
type report struct {
	title  string
	rows   [][]string
	broken []string // promises, and how
	notes  []string
}

func (r *report) about(format string, args ...any) { r.title = fmt.Sprintf(format, args...) }

// row adds a line to the table. Durations are in milliseconds.
func (r *report) row(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		if d, ok := cell.(time.Duration); ok {
			cell = ms(d)
		}
		row[i] = fmt.Sprint(cell)
	}
	r.rows = append(r.rows, row)
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// expect notes that something does not hold.
func (r *report) expect(holds bool, format string, args ...any) {
	if !holds {
		r.broken = append(r.broken, fmt.Sprintf(format, args...))
	}
}

// expectAll notes that a load has lost something.
func (r *report) expectAll(name string, result load.Result) {
	r.expect(result.Failures() == 0, "%s: %d of %d requests failed: %s", name, result.Failures(), sent(result), describe(result))
}

func (r *report) err() error {
	if len(r.broken) > 0 {
		return fmt.Errorf("%d promises do not hold", len(r.broken))
	}
	return nil
}

func (r *report) print(w io.Writer, took time.Duration) {
	fmt.Fprintf(w, "%s (%v)\n", r.title, took.Round(time.Second))
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range r.rows {
		fmt.Fprintln(out, strings.Join(row, "\t")+"\t")
	}
	_ = out.Flush() // its writer is ours
	for _, note := range r.notes {
		fmt.Fprintln(w, note)
	}
	for _, broken := range r.broken {
		fmt.Fprintln(w, "BROKEN:", broken)
	}
	fmt.Fprintln(w)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1e3) }

// lateAfter is what no request takes unless the kernel has dropped its SYN, which is sent again after a second.
const lateAfter = 900 * time.Millisecond

// head begins a table of trials. The columns come before those of each table: what happens in the trials is called fault.
func (r *report) head(fault string, columns ...any) {
	r.row(slices.Concat(columns, []any{
		"", fault + "s", "requests", "requests/s", "connections", "failed", "of them", "late", "p50 ms", "p99 ms", "max ms",
		"a " + fault + ": p50 ms", "p99", "max",
	})...)
}

// trial adds a row about a load of a trial.
func (r *report) trial(name string, t *trial, l load.Result, cells ...any) {
	r.row(slices.Concat(cells, []any{
		name, t.faults.TotalCount(), sent(l), fmt.Sprintf("%.0f", float64(sent(l))/l.Elapsed.Seconds()), l.Connections, l.Failures(),
		kinds(l), late(l), l.Quantile(50), l.Quantile(99), l.Quantile(100),
		t.faults.Quantile(50), t.faults.Quantile(99), t.faults.Quantile(100),
	})...)
}

// sent returns how many requests were made.
func sent(r load.Result) int64 { return r.Requests + r.Failures() }

// late returns how many requests were answered after lateAfter.
func late(r load.Result) (n int64) {
	for _, bar := range r.Latency.Distribution() {
		if bar.From > lateAfter.Nanoseconds() {
			n += bar.Count
		}
	}
	return n
}

// kinds lists failures by kind.
func kinds(r load.Result) string {
	words := []string{}
	for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
		words = append(words, fmt.Sprintf("%s %d", kind, r.Failed[kind]))
	}
	return cmp.Or(strings.Join(words, ", "), "-")
}

// describe tells some failures.
func describe(r load.Result) string {
	words := []string{kinds(r)}
	for _, f := range r.Lost[:min(len(r.Lost), 5)] {
		words = append(words, fmt.Sprintf("%s after %v at %v: %s", f.Kind, (f.Failed-f.Begun).Round(time.Microsecond), f.Failed, f.Error))
	}
	return strings.Join(words, "; ")
}
