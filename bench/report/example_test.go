package report_test

import (
	"log"
	"os"

	"github.com/multinode-go/multinode/bench/report"
)

func ExampleDocument() {
	d := &report.Document{
		Ways: []report.Way{
			{Name: "go", Title: "one Go process", Baseline: true},
			{Name: "multinode", Ours: true},
			{Name: "nginx", Missing: "nginx is not in PATH: apt-get install nginx"},
		},
		Patterns: []report.Pattern{{Name: "keepalive", Title: "Keep-alive", Figures: []string{report.RequestsPerSecond, report.P99}}},
	}
	for i, way := range []string{"go", "multinode"} {
		cell := report.Cell{Pattern: "keepalive", Way: way}
		for round := range 5 {
			cell.Samples = append(cell.Samples, report.Sample{Round: round + 1, Figures: report.Figures{
				report.RequestsPerSecond: float64(40000 + 4000*i + 100*round),
				report.P99:               5 - 0.1*float64(i*(round-1)),
			}})
		}
		d.Cells = append(d.Cells, cell)
	}
	if err := d.WriteText(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Keep-alive
	//            requests/s                  ratio  p99 ms               ratio
	// go             40,200                           5.00
	// multinode      44,200  1.100 (1.099–1.100) ▲    4.90  0.98 (0.94–1.02) ~
	//
	// Medians of 5 rounds. Ratio: median of the ratio to "go" in the same round (lowest to highest round: 93.75 % interval of it).
	// ▲ better, ▼ worse, ~ cannot be told from no difference, ! some requests failed.
	//
	// multinode compared with one Go process, by the main figure of each pattern: better in 1 of 1, worse in 0, no clear difference in 0.
	// multinode compared with the best way on the same server: it is the best in 1, cannot be told from the best in 0, and is behind in 0.
	//
	// Skipped:
	//   nginx: nginx is not in PATH: apt-get install nginx
}
