package cost

import (
	"context"
	"slices"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// contestant is a system that is measured in turn with others.
type contestant struct {
	name    string
	measure func(context.Context) (roles.Result, error)
	results []roles.Result // of each round
}

// race measures all in each round, in changing order, after a round that does not count. Those of one group come one after
// the other.
func race(ctx context.Context, rounds int, groups ...[]*contestant) error {
	for round := range rounds + 1 {
		for _, group := range turns(groups, round) {
			for _, c := range turns(group, round) {
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

func (c *contestant) figures(of figure) (values []float64) {
	for _, r := range c.results {
		values = append(values, of(r))
	}
	return values
}

// ratios returns the figure by that of another contestant, round by round.
func (c *contestant) ratios(to *contestant, of figure) []float64 {
	values := c.figures(of)
	for i, base := range to.figures(of) {
		values[i] /= base
	}
	return values
}

// differences returns the figure without that of another contestant, round by round.
func (c *contestant) differences(from *contestant, of figure) []float64 {
	values := c.figures(of)
	for i, base := range from.figures(of) {
		values[i] -= base
	}
	return values
}
