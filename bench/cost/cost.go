// Package cost measures what a cluster, its mesh and its cache cost and bring, as ratios against a named baseline in the same run.
//
// Every figure is the median of several rounds; in each round baseline and ours are measured one right after the other,
// and the ratio is taken within the round, so that a machine that is busy with other things disturbs both.
package cost

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/internal/command"
)

// config holds the values of the flags, and peers, nodes and writeRate, which are smaller in a test.
type config struct {
	rounds      int
	duration    time.Duration
	connections int
	slice       time.Duration
	stall       time.Duration
	gomaxprocs  []int // of each process of each system, one after the other

	peers     []int  // of a fan-out
	nodes     int    // of a mesh
	writeRate int    // invalidations a second that are due in each node, beside hits
	programs  string // where those are that were built
}

// experiment makes one table or several.
type experiment struct {
	group, name string
	contests    func(config) []contest // which are held in this order
	program     string                 // that is built for it
}

// experiments are in the order in which they run.
var experiments = []experiment{
	{"cluster", "one-node", loads(1, keepAlive), ""},
	{"cluster", "two-nodes", loads(2, keepAlive, shortConnections), ""},
	{"cluster", "restart", restarts, ""},
	{"cluster", "start", starts, ""},
	{"cluster", "memory", memories, ""},
	{"mesh", "round-trip", roundTrips, natsPackage},
	{"mesh", "one-way", oneWays, natsPackage},
	{"mesh", "fan-out", fanOuts, natsPackage},
	{"mesh", "mesh-start", meshStarts, ""},
	{"mesh", "join", joins, ""},
	{"mesh", "stalled-peer", stalls, ""},
	{"cache", "invalidate", invalidations, natsPackage},
	{"cache", "hits", hitsBesideWrites, ""},
	{"cache", "hit", hits, ""},
	{"cache", "catalog", catalogs, catalogPackage},
}

// tableNames returns what can be chosen: each group, and what is in it.
func tableNames() (names []string) {
	for _, m := range experiments {
		if !slices.Contains(names, m.group) {
			names = append(names, m.group)
		}
		names = append(names, m.name)
	}
	return names
}

// choose returns the experiments that a list of names asks for, all if it is empty.
func choose(list string) (chosen []experiment, err error) {
	names, err := command.Choose("table", list, tableNames())
	if err != nil {
		return nil, err
	}
	for _, e := range experiments {
		if slices.Contains(names, e.group) || slices.Contains(names, e.name) {
			chosen = append(chosen, e)
		}
	}
	return chosen, nil
}

// Run is the command: it prints tables.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := config{
		gomaxprocs: slices.Compact([]int{1, runtime.NumCPU()}),
		peers:      []int{3, 7, 15}, nodes: 16, writeRate: writeRate,
	}
	chosen := experiments
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
	if err := json.Unmarshal([]byte("["+list+"]"), &c.gomaxprocs); err != nil {
		return err
	}
	if len(c.gomaxprocs) == 0 || slices.Min(c.gomaxprocs) < 1 {
		return errors.New("must be positive")
	}
	return nil
}

func (c config) measure(ctx context.Context, chosen []experiment, stdout io.Writer) (err error) {
	var packages []string
	for _, e := range chosen {
		if e.program != "" {
			packages = append(packages, e.program)
		}
	}
	if len(packages) > 0 {
		if c.programs, err = os.MkdirTemp("", "bench"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(c.programs)) }()
		if err := build(ctx, c.programs, packages...); err != nil {
			return err
		}
	}
	for _, e := range chosen {
		for _, k := range e.contests(c) {
			if err := c.hold(ctx, stdout, k); err != nil {
				return err
			}
		}
	}
	return nil
}
