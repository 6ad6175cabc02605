// Package loss proves what a cluster promises of connections and requests: that none is lost when nodes are drained,
// replaced, or when their master is killed, and that only those are lost which a killed worker had. What one writes without
// us is measured in the same run, as the baseline.
//
// Servers and load are processes of their own, on the loopback interface, and those of a root user run as another one: no
// privilege has a part in it, but for the delays, which take network namespaces.
package loss

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrUsage is the error of flags that are wrong, which package flag has told the user already.
var ErrUsage = errors.New("usage")

// config is what the flags say.
type config struct {
	Part        string // of a process that does one
	Drains      int
	Connections int64 // at least, while they are drained
	Restarts    int   // of the baseline
	Requests    int64 // at least, of each load with keep-alive
	Delayed     int   // drains with delay
	Clients     int
	Duration    time.Duration // of the chaos
	Seed        uint64
	Closes      time.Duration // how long listeners are closed in each way
	Untimed     bool          // what takes how long is not judged: on a machine that is busy with other tests
}

func long() config {
	return config{Drains: 10000, Connections: 10e6, Restarts: 1000, Requests: 1e6, Delayed: 100, Clients: 32, Duration: 10 * time.Minute, Closes: time.Minute}
}

func short() config {
	return config{Drains: 40, Connections: 10e3, Restarts: 40, Requests: 20e3, Delayed: 5, Clients: 16, Duration: 20 * time.Second, Closes: time.Second}
}

// part is one thing that is proved.
type part struct {
	name       string
	prove      func(context.Context, config) (*report, error)
	privileged bool // it needs root
}

// parts are in the order in which they run.
func parts() []part {
	return []part{
		{"drains", proveDrains, false},
		{"closes", proveCloses, false},
		{"delayed", proveDelayed, true},
		{"reloads", proveReloads, false},
		{"attach", proveAttach, false},
		{"master", proveMaster, false},
		{"takeovers", proveTakeovers, false},
		{"stopped", proveStopped, false},
	}
}

// chaos is a part that is asked for by itself.
var chaos = part{"chaos", proveChaos, false}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// Run proves it all, or what -only names, and returns an error when something does not hold.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := long()
	if slices.Contains(args, "-short") || slices.Contains(args, "--short") {
		c = short() // so that the other flags count
	}
	flags := flag.NewFlagSet("loss", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Bool("short", false, "some seconds of each, instead of half an hour")
	flags.IntVar(&c.Drains, "drains", c.Drains, "at least so many drains")
	flags.Int64Var(&c.Connections, "connections", c.Connections, "at least so many connections while they are drained")
	flags.IntVar(&c.Restarts, "restarts", c.Restarts, "of the baseline")
	flags.Int64Var(&c.Requests, "requests", c.Requests, "at least so many requests of the loads with keep-alive")
	flags.IntVar(&c.Delayed, "delayed", c.Delayed, "drains with each delay")
	flags.IntVar(&c.Clients, "clients", c.Clients, "that have a request under way at a time")
	only := flags.String("only", "", "only these `parts`, with commas: "+strings.Join(partNames(), ", "))
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if c.Drains < 1 || c.Connections < 1 || c.Restarts < 1 || c.Requests < 1 || c.Clients < 1 || c.Delayed < 1 {
		fmt.Fprintln(stderr, "bench: all counts must be positive")
		return ErrUsage
	}
	chosen := parts()
	if *only != "" {
		names := strings.Split(*only, ",")
		for _, name := range names {
			if !slices.Contains(partNames(), name) {
				fmt.Fprintf(stderr, "bench: no part %q, have %s\n", name, strings.Join(partNames(), ", "))
				return ErrUsage
			}
		}
		chosen = slices.DeleteFunc(chosen, func(p part) bool { return !slices.Contains(names, p.name) })
	}
	return c.run(ctx, chosen, stdout, stderr)
}

// Chaos kills, stops and drains processes at random, and returns an error when a request is lost that none of that
// explains.
func Chaos(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := long()
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&c.Duration, "duration", c.Duration, "how long")
	flags.Uint64Var(&c.Seed, "seed", 0, "of what happens when; 0 chooses one")
	flags.IntVar(&c.Clients, "clients", c.Clients, "that have a request under way at a time")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if c.Duration <= 0 || c.Clients < 1 {
		fmt.Fprintln(stderr, "bench: -duration and -clients must be positive")
		return ErrUsage
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	return c.run(ctx, []part{chaos}, stdout, stderr)
}

func parse(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return ErrUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "bench: unexpected argument %q; -h lists the flags\n", flags.Arg(0))
		return ErrUsage
	}
	return nil
}

func (c config) run(ctx context.Context, chosen []part, stdout, stderr io.Writer) error {
	stage, err := newStage(stderr)
	if err != nil {
		return err
	}
	defer stage.close()
	fmt.Fprintf(stdout, "%s, %s/%s, %d CPUs, as %s; the load runs on the same CPUs\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), stage.user())
	broken := 0
	for _, p := range chosen {
		begin := time.Now()
		r, err := stage.prove(ctx, p, c)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if r == nil {
			continue
		}
		r.print(stdout, time.Since(begin))
		broken += len(r.Broken)
	}
	if broken > 0 {
		return fmt.Errorf("%d promises do not hold", broken)
	}
	return nil
}

// runPart is a process that proves a part. It prints its report as JSON.
func runPart(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, p := range append(parts(), chaos) {
		if p.name == c.Part {
			r, err := p.prove(ctx, c)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(r)
		}
	}
	return fmt.Errorf("no part %q", c.Part)
}
