package sim

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/bench/internal/command"
)

// more is how much more than by default -full simulates.
const more = 10

// maxReplications is more than anybody has time for.
const maxReplications = 1000

// Run is the subcommand: it compares the policies, and prints tables.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	p := Plan{Replications: 5, Requests: 200e3}
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	flags.Uint64Var(&p.Seed, "seed", 1, "of all random numbers")
	flags.IntVar(&p.Replications, "replications", p.Replications, "of each scenario")
	only := flags.String("only", "", "run only these `experiments`, with commas: "+strings.Join(p.names(), ", "))
	full := flags.Bool("full", false, fmt.Sprintf("simulate %d times as many requests", more))
	if err := command.Parse(flags, args, stderr, "sim [flags]"); err != nil {
		return err
	}
	if *full {
		p.Requests *= more
	}
	experiments, err := p.choose(*only, flags.Args())
	if err != nil {
		return command.Wrong(stderr, err)
	}
	return p.report(ctx, experiments, stdout)
}

// report compares, and prints.
func (p Plan) report(ctx context.Context, experiments []Experiment, w io.Writer) error {
	if err := Simulate(ctx, cellsOf(experiments)...); err != nil {
		return err
	}
	fmt.Fprintf(w, "seed %d, %d replications of %.0f requests or more; times in mean demands of a request; ± is a half-width of 95 %%\n\n",
		p.Seed, p.Replications, p.Requests)
	for _, e := range experiments {
		e.print(w)
	}
	return nil
}

func (p Plan) names() (names []string) {
	for _, e := range p.Experiments() {
		names = append(names, e.Name)
	}
	return names
}

// choose returns the experiments that a list of names asks for, all if it is empty, or what is wrong with the flags.
func (p Plan) choose(list string, rest []string) ([]Experiment, error) {
	if len(rest) > 0 {
		return nil, fmt.Errorf("unexpected argument %q", rest[0])
	}
	if p.Replications < 2 || p.Replications > maxReplications {
		return nil, fmt.Errorf("-replications must lie between 2 and %d", maxReplications)
	}
	chosen, err := command.Choose("experiment", list, p.names())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(p.Experiments(), func(e Experiment) bool { return !slices.Contains(chosen, e.Name) }), nil
}
