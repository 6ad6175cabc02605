package cost

import (
	"context"
	"errors"
	"io"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// contest is an experiment: contestants take turns, and a table shows their results.
type contest struct {
	rounds  int
	systems []roles.Player                    // whose teams run all the time
	entries func(teams []*team) []*contestant // nil: there is only something to print
	print   func(w io.Writer, all []*contestant)
}

// titled prints a table.
func titled(title string, rows func(all []*contestant) [][]string) func(io.Writer, []*contestant) {
	return func(w io.Writer, all []*contestant) { table(w, title, rows(all)...) }
}

// hold returns when the teams have ended.
func (c config) hold(ctx context.Context, w io.Writer, k contest) (err error) {
	var all []*contestant
	if k.entries != nil {
		err = c.withTeams(ctx, k.systems, func(teams []*team) error {
			all = k.entries(teams)
			return race(ctx, k.rounds, all)
		})
	}
	if err == nil {
		k.print(w, all)
	}
	return err
}

// withTeams has a team of each system while do runs.
func (c config) withTeams(ctx context.Context, systems []roles.Player, do func([]*team) error) (err error) {
	var teams []*team
	defer func() {
		for _, t := range teams {
			err = errors.Join(err, t.stop())
		}
	}()
	for _, p := range systems {
		t, err := c.startTeam(ctx, p)
		if err != nil {
			return err
		}
		teams = append(teams, t)
	}
	return do(teams)
}

// contestant is who is measured in turn with others.
type contestant struct {
	name    string
	measure measureFunc
	results []roles.Result // of each round
}

type measureFunc func(context.Context) (roles.Result, error)

// each is a contestant for each team, which all do the same.
func each(do func(*team) measureFunc, names ...string) func([]*team) []*contestant {
	return func(teams []*team) (all []*contestant) {
		for i, t := range teams {
			all = append(all, &contestant{name: names[i], measure: do(t)})
		}
		return all
	}
}

// once is a contestant whose team runs for one round only. Its results are the duration of the start, and those of look.
func (c config) once(name string, p roles.Player, look func(context.Context, *team, *roles.Result) error) *contestant {
	return &contestant{name: name, measure: func(ctx context.Context) (r roles.Result, err error) {
		err = c.withTeams(ctx, []roles.Player{p}, func(teams []*team) error {
			r = teams[0].start
			return look(ctx, teams[0], &r)
		})
		return r, err
	}}
}

// started sees no more than what the start took.
func started(context.Context, *team, *roles.Result) error { return nil }

// inTurn are contestants that need no teams.
func inTurn(all ...*contestant) func([]*team) []*contestant {
	return func([]*team) []*contestant { return all }
}

// race measures all in each round, in changing order, after a round that does not count.
func race(ctx context.Context, rounds int, all []*contestant) error {
	for round := range rounds + 1 {
		for _, c := range turns(all, round) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r, err := c.measure(ctx)
			if err != nil {
				return err
			}
			if round > 0 {
				c.results = append(c.results, r)
			}
		}
	}
	return nil
}

// turns changes who begins, and who comes after whom.
func turns[T any](all []T, round int) []T {
	first := round / 2 % len(all)
	order := slices.Concat(all[first:], all[:first])
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// derived is a contestant whose rounds follow from those of two others.
func derived(name string, a, b *contestant, round func(a, b roles.Result) roles.Result) *contestant {
	c := &contestant{name: name}
	for i, r := range a.results {
		c.results = append(c.results, round(r, b.results[i]))
	}
	return c
}

func (c *contestant) figures(of figure) (values []float64) {
	for _, r := range c.results {
		values = append(values, of(r))
	}
	return values
}

// ratios returns the figure by that of another contestant, round by round.
func (c *contestant) ratios(to *contestant, of figure) []float64 {
	values := c.figures(of)
	floats.Div(values, to.figures(of))
	return values
}

// differences returns the figure without that of another contestant, round by round.
func (c *contestant) differences(from *contestant, of figure) []float64 {
	values := c.figures(of)
	floats.Sub(values, from.figures(of))
	return values
}
