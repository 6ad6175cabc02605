// Bench answers what users ask of ways to share a port: which is faster, which is fairer, and what a cluster costs.
//
//	go run ./bench        # compare the ways; -h lists the flags, and the commands for other questions
//
// Servers and load are processes of their own. Load goes to the loopback interface only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/multinode-go/multinode/bench/compare"
	"github.com/multinode-go/multinode/bench/cost"
	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/bench/loss"
	"github.com/multinode-go/multinode/bench/sim"
	"github.com/multinode-go/multinode/bench/ways"
)

func main() {
	child.Become(roles.All(), loss.Roles(), load.Roles(), ways.Roles())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, command.ErrUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// subcommand answers one question.
type subcommand struct {
	name, about string
	run         func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

var subcommands = []subcommand{
	{"agree", "do several reports say the same?", compare.Agree},
	{"sim", "carry the comparison to 64 and 256 workers by simulation", sim.Run},
	{"cost", "what a cluster, its mesh and its cache add to one process, to raw sockets, to otter and to NATS", cost.Run},
	{"loss", "drain, reload and kill under load: is anything lost?", loss.Run},
	{"chaos", "the same at random", loss.Chaos},
	{"load", "load a server by hand, without coordinated omission", load.Run},
	{"check-load", "compare the load generator with wrk", load.Check},
}

// run is the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		for _, c := range subcommands {
			if c.name == args[0] {
				return c.run(ctx, args[1:], stdout, stderr)
			}
		}
	}
	err := compare.Run(ctx, args, stdout, stderr)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "\nOther questions, each with its own -h:")
		for _, c := range subcommands {
			fmt.Fprintf(stderr, "  go run ./bench %-11s %s\n", c.name, c.about)
		}
	}
	return err
}
