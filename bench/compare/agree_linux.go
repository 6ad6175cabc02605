package compare

import (
	"context"
	"fmt"
	"io"

	"github.com/multinode-go/multinode/bench/report"
)

// Agree is a command: it tells whether the runs whose reports are named agree.
func Agree(_ context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) < 2 {
		fmt.Fprintln(stderr, "Usage: go run ./bench agree report.json report.json ...")
		return ErrUsage
	}
	var runs []*report.Document
	for _, path := range args {
		d, err := read(path)
		if err != nil {
			return err
		}
		runs = append(runs, d)
	}
	for _, mainOnly := range []bool{true, false} {
		what := "all figures that matter"
		if mainOnly {
			what = "the main figure of each pattern"
		}
		a := report.Agree(mainOnly, runs...)
		fmt.Fprintf(stdout, "%s: %d of %d pairs agree within their intervals\n", what, a.Pairs-len(a.Apart), a.Pairs)
		for _, apart := range a.Apart {
			fmt.Fprintln(stdout, "  apart:", apart)
		}
	}
	return nil
}
