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

	"github.com/multinode-go/multinode/bench/report"
	"github.com/multinode-go/multinode/bench/ways"
)

// ErrUsage is the error of arguments that are wrong, which the user has been told already.
var ErrUsage = errors.New("usage")

const (
	briefDuration = 600 * time.Millisecond
	fullDuration  = 2 * time.Second
	fewestRounds  = 5
)

// briefWays are those of the short comparison: all that answer with the same server.
func isBrief(w ways.Way) bool { return !w.Other && w.Name != "proxy" }

// Run is the command: it compares, prints the tables, and writes the report.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c config
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	full := flags.Bool("full", false, "all ways, all patterns, and more time for each")
	chosen := flags.String("ways", "", "compare these `ways`, with commas: "+strings.Join(wayNames(), ", "))
	flags.IntVar(&c.rounds, "rounds", fewestRounds, "rounds; a figure is the median of them")
	flags.DurationVar(&c.duration, "duration", 0, fmt.Sprintf("of each measurement (default %v, or %v with -full)", briefDuration, fullDuration))
	flags.IntVar(&c.workers, "workers", max(2, runtime.NumCPU()), "worker processes of each way")
	flags.Uint64Var(&c.seed, "seed", 1, "of the load and of the order in which the ways are measured")
	out := flags.String("o", "multinode-bench", "`directory` for the report: index.html, samples.csv, report.json, and charts")
	from := flags.String("from", "", "measure nothing: write the report of this `file` of JSON again")
	flags.Usage = func() { usageText(flags) }
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return ErrUsage
	}
	if err := c.choose(flags.Args(), *chosen, *full); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return ErrUsage
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

func usageText(flags *flag.FlagSet) {
	w := flags.Output()
	fmt.Fprintf(w, "Usage: go run ./bench [flags] [pattern ...]\n\nCompares ways to share a port among processes. Patterns of load, "+
		"each of which answers a question (* in the short comparison):\n")
	for _, p := range patterns() {
		mark := " "
		if p.brief {
			mark = "*"
		}
		fmt.Fprintf(w, "  %-11s%s %s\n", p.Name, mark, p.Title)
	}
	fmt.Fprintln(w, "\nFlags:")
	flags.PrintDefaults()
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
	var names []string
	if wayList != "" {
		names = append(strings.Split(wayList, ","), baseline)
	}
	for _, name := range names {
		if !slices.Contains(wayNames(), name) {
			return fmt.Errorf("there is no way %q (-h lists them)", name)
		}
	}
	for _, w := range ways.All() {
		if len(names) == 0 && (full || isBrief(w)) || slices.Contains(names, w.Name) {
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
		"index.html": d.WriteHTML, "samples.csv": d.WriteCSV, "report.json": d.WriteJSON,
	} {
		var b bytes.Buffer
		if err := errors.Join(form(&b), os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644)); err != nil {
			return err
		}
	}
	if err := d.WriteCharts(filepath.Join(dir, "charts")); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nThe report is %s; beside it are samples.csv, report.json and the charts.\n", filepath.Join(dir, "index.html"))
	return nil
}
