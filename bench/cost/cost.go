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
	"time"

	"github.com/multinode-go/multinode/bench/internal/command"
)

// config is what the flags say.
type config struct {
	rounds      int
	duration    time.Duration
	connections int
	slice       time.Duration
	stall       time.Duration
	writeRate   int   // invalidations a second that are due in each node, beside hits
	gomaxprocs  []int // of each process of each system, one after the other

	peers  []int  // of a fan-out
	nodes  int    // of a mesh
	stalls int    // of a peer
	window int    // of the bus whose peer stalls, in bytes; 0 is its default
	natsd  string // path of the program
}

// measurement makes one table or several.
type measurement struct {
	group, name string
	measure     func(context.Context, config, io.Writer) error
	nats        bool // compares with NATS
}

// measurements are in the order in which they run.
var measurements = []measurement{
	{"cluster", "one-node", measureOverhead, false},
	{"cluster", "two-nodes", measureTwoNodes, false},
	{"cluster", "restart", measureRestart, false},
	{"cluster", "start", measureStart, false},
	{"cluster", "memory", measureMemory, false},
	{"mesh", "round-trip", measureRoundTrips, true},
	{"mesh", "one-way", measureOneWay, true},
	{"mesh", "fan-out", measureFanOuts, true},
	{"mesh", "mesh-start", measureMeshStart, false},
	{"mesh", "join", measureJoin, false},
	{"mesh", "stalled-peer", measureStall, false},
	{"cache", "invalidate", measureInvalidations, true},
	{"cache", "hits", measureHits, false},
	{"cache", "hit", measureHit, false},
	{"cache", "catalog", measureCatalog, false},
}

// tableNames returns what can be chosen: each group, and what is in it.
func tableNames() (names []string) {
	for _, m := range measurements {
		if !slices.Contains(names, m.group) {
			names = append(names, m.group)
		}
		names = append(names, m.name)
	}
	return names
}

// choose returns the measurements that a list of names asks for, all if it is empty.
func choose(list string) ([]measurement, error) {
	names, err := command.Choose("table", list, tableNames())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(measurements), func(m measurement) bool {
		return !slices.Contains(names, m.group) && !slices.Contains(names, m.name)
	}), nil
}

// Run is the command: it prints tables.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := config{
		gomaxprocs: slices.Compact([]int{1, runtime.NumCPU()}),
		peers:      []int{3, 7, 15}, nodes: 16, stalls: 3, writeRate: writeRate,
	}
	chosen := measurements
	flags := flag.NewFlagSet("cost", flag.ContinueOnError)
	flags.IntVar(&c.rounds, "rounds", 10, "rounds of each comparison")
	flags.DurationVar(&c.duration, "duration", 1500*time.Millisecond, "how long each server is loaded in a round, and the catalogue for a third of it")
	flags.IntVar(&c.connections, "connections", 32, "connections at a time")
	flags.DurationVar(&c.slice, "slice", 120*time.Millisecond, "mesh, cache: how long each system is measured in a round")
	flags.DurationVar(&c.stall, "stall", 5*time.Second, "mesh: how long a peer is stopped")
	flags.Func("gomaxprocs", "mesh, cache: GOMAXPROCS of each process of each system, with commas (default 1, as a node of a "+
		"cluster has it, and the number of CPUs)", c.setGOMAXPROCS)
	flags.Func("only", "run only these `tables`, with commas: "+strings.Join(tableNames(), ", "), func(list string) (err error) {
		chosen, err = choose(list)
		return err
	})
	if err := command.Parse(flags, args, stderr, "cost [flags]"); err != nil {
		return err
	}
	if c.rounds < 1 || c.duration <= 0 || c.connections < 1 || c.slice <= 0 || c.stall <= 0 {
		return command.Wrong(stderr, errors.New("-rounds, -duration, -connections, -slice and -stall must be positive"))
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
		if c.natsd, err = buildProgram(ctx, dir, natsdPackage); err != nil {
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
