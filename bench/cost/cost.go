// Package cost measures what a cluster, its mesh and its cache cost and bring, as ratios against a named baseline in the same run.
//
// Every figure is the median of several rounds; in each round baseline and ours are measured one right after the other,
// and the ratio is taken within the round, so that a machine that is busy with other things disturbs both.
package cost

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// ErrUsage is the error of arguments that are wrong, which the user has been told already.
var ErrUsage = errors.New("usage")

// config is what the flags say.
type config struct {
	rounds      int
	duration    time.Duration
	connections int
	slice       time.Duration
	stall       time.Duration
	writeRate   int   // invalidations a second that are due in each node, beside hits
	gomaxprocs  []int // of each process of each system, one after the other
	only        string

	peers  []int  // of a fan-out
	nodes  int    // of a mesh
	stalls int    // of a peer
	window int    // of the bus whose peer stalls, in bytes; 0 is its default
	natsd  string // path of the program
}

// Run is the command: it prints tables.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := config{
		gomaxprocs: slices.Compact([]int{1, runtime.NumCPU()}),
		peers:      []int{3, 7, 15}, nodes: 16, stalls: 3, writeRate: writeRate,
	}
	flags := flag.NewFlagSet("cost", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&c.rounds, "rounds", 10, "rounds of each comparison")
	flags.DurationVar(&c.duration, "duration", 1500*time.Millisecond, "how long each server is loaded in a round, and the catalogue for a third of it")
	flags.IntVar(&c.connections, "connections", 32, "connections at a time")
	flags.DurationVar(&c.slice, "slice", 120*time.Millisecond, "mesh, cache: how long each system is measured in a round")
	flags.DurationVar(&c.stall, "stall", 5*time.Second, "mesh: how long a peer is stopped")
	flags.Func("gomaxprocs", "mesh, cache: GOMAXPROCS of each process of each system, with commas (default 1, as a node of a "+
		"cluster has it, and the number of CPUs)", c.setGOMAXPROCS)
	flags.StringVar(&c.only, "only", "", "run only these `tables`, with commas: "+strings.Join(tableNames(), ", "))
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return ErrUsage
	}
	if c.rounds < 1 || c.duration <= 0 || c.connections < 1 || c.slice <= 0 || c.stall <= 0 {
		fmt.Fprintln(stderr, "bench: -rounds, -duration, -connections, -slice and -stall must be positive")
		return ErrUsage
	}
	chosen, err := choose(c.only)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return ErrUsage
	}
	fmt.Fprintf(stdout, "%s, %s/%s, %d CPUs; medians of %d rounds of %v, %d connections; the load runs on the same CPUs\n"+
		"mesh, cache: medians of %d rounds of %v; GOMAXPROCS is the same in each process of each system, %d if it is not named\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), c.rounds, c.duration, c.connections,
		c.rounds, c.slice, c.gomaxprocs[0])
	return c.measure(ctx, chosen, stdout)
}

// setGOMAXPROCS takes numbers with commas.
func (c *config) setGOMAXPROCS(list string) error {
	c.gomaxprocs = nil
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		if n < 1 {
			return errors.New("must be positive")
		}
		c.gomaxprocs = append(c.gomaxprocs, n)
	}
	return nil
}

func (c config) measure(ctx context.Context, chosen []measurement, stdout io.Writer) error {
	if slices.ContainsFunc(chosen, func(m measurement) bool { return m.nats }) {
		dir, err := os.MkdirTemp("", "bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if c.natsd, err = buildNATS(ctx, dir); err != nil {
			return err
		}
	}
	for _, m := range chosen {
		if err := m.measure(ctx, c, stdout); err != nil {
			return err
		}
	}
	return nil
}

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
