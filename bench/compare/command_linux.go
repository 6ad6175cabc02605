package compare

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/bench/report"
	"github.com/multinode-go/multinode/bench/ways"
)

const (
	briefDuration = 600 * time.Millisecond
	fullDuration  = 2 * time.Second
	fewestRounds  = 5
)

// isBrief tells whether a way is one of the short comparison: all that answer with the same server.
func isBrief(w ways.Way) bool { return !w.Other && w.Name != "proxy" }

// Run is the command: it compares, prints the tables, and writes the report.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c config
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	full := flags.Bool("full", false, "all ways, all patterns, and more time for each")
	chosen := flags.String("ways", "", "compare these `ways`, with commas: "+strings.Join(wayNames(), ", "))
	flags.IntVar(&c.rounds, "rounds", fewestRounds, "rounds; a figure is the median of them")
	flags.DurationVar(&c.duration, "duration", 0, fmt.Sprintf("of each measurement (default %v, or %v with -full)", briefDuration, fullDuration))
	flags.IntVar(&c.workers, "workers", max(2, runtime.NumCPU()), "worker processes of each way")
	flags.Uint64Var(&c.seed, "seed", 1, "of the load and of the order in which the ways are measured")
	out := flags.String("o", "multinode-bench", "`directory` for the report: index.html, samples.csv, report.json, and charts")
	from := flags.String("from", "", "measure nothing: write the report of this `file` of JSON again")
	if err := command.Parse(flags, args, stderr, usageText()); err != nil {
		return err
	}
	if err := c.choose(flags.Args(), *chosen, *full); err != nil {
		return command.Wrong(stderr, err)
	}
	d := &report.Document{
		Title:   "Ways to share a TCP port among processes",
		Command: strings.TrimSpace("go run ./bench " + strings.Join(args, " ")),
	}
	var err error
	if *from != "" {
		d, err = read(*from)
	} else {
		err = c.run(ctx, d, stderr)
	}
	if d == nil || len(d.Cells) == 0 {
		return err
	}
	return errors.Join(err, d.WriteText(stdout), write(d, *out, stdout))
}

func usageText() string {
	var b strings.Builder
	b.WriteString("[flags] [pattern ...]\n\nCompares ways to share a port among processes. Patterns of load, " +
		"each of which answers a question (* in the short comparison):\n")
	for _, p := range patterns() {
		mark := " "
		if p.brief {
			mark = "*"
		}
		fmt.Fprintf(&b, "  %-11s%s %s\n", p.Name, mark, p.Title)
	}
	return b.String() + "\nFlags:"
}

func wayNames() (names []string) {
	for _, w := range ways.All() {
		names = append(names, w.Name)
	}
	return names
}

// choose fills c in with what is to be compared.
func (c *config) choose(patternNames []string, wayList string, full bool) error {
	if c.rounds < 1 || c.workers < 1 || c.duration < 0 {
		return errors.New("-rounds, -workers and -duration must be positive")
	}
	if c.duration == 0 {
		c.duration = briefDuration
		if full {
			c.duration = fullDuration
		}
	}
	for _, p := range patterns() {
		if len(patternNames) == 0 && (full || p.brief) || slices.Contains(patternNames, p.Name) {
			c.patterns = append(c.patterns, p)
		}
	}
	if n := len(patternNames); n > 0 && n != len(c.patterns) {
		return fmt.Errorf("there is no pattern of one of these names, or one is named twice: %s (-h lists them)", strings.Join(patternNames, ", "))
	}
	names, err := command.Choose("way", wayList, wayNames())
	if err != nil {
		return err
	}
	for _, w := range ways.All() {
		brief := wayList == "" && !full
		if w.Name == baseline || slices.Contains(names, w.Name) && (!brief || isBrief(w)) {
			c.ways = append(c.ways, w)
		}
	}
	return nil
}

func read(path string) (*report.Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return report.ReadJSON(f)
}

// write writes the report in all its forms.
func write(d *report.Document, dir string, stdout io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, form := range map[string]func(io.Writer) error{
		"index.html": d.WriteHTML, "report.json": d.WriteJSON,
	} {
		var b bytes.Buffer
		if err := errors.Join(form(&b), os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644)); err != nil {
			return err
		}
	}
	if err := d.WriteCharts(filepath.Join(dir, "charts")); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nThe report is %s; beside it are report.json and the charts.\n", filepath.Join(dir, "index.html"))
	return nil
}

// Agree is a command: it tells whether the runs whose reports are named agree.
func Agree(_ context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) < 2 {
		fmt.Fprintln(stderr, "Usage: go run ./bench agree report.json report.json ...")
		return command.ErrUsage
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
