package cost

import (
	"context"
	"fmt"
	"io"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// measureHit asks what a hit costs beyond one of the cache that is below.
func measureHit(ctx context.Context, c config, w io.Writer) error {
	return c.withTeams(c.gomaxprocs[0], []roles.Player{{System: roles.Cache, Peers: 1}}, func(teams []*team) error {
		var all []*contestant
		for _, name := range []string{roles.HitOtter, roles.HitExpiring, roles.HitAlone, roles.HitMeshed} {
			all = append(all, teams[0].does(name, roles.Order{Do: roles.Hit, Of: name, Warm: c.slice / roles.WarmUp, Duration: c.slice}))
		}
		if err := race(ctx, c.rounds, all); err != nil {
			return err
		}
		title := fmt.Sprintf("CPU time of a hit in one process, one after the other, GOMAXPROCS %d", c.gomaxprocs[0])
		table(w, title, rows(all, hitColumns(all[0], all[1])...)...)
		return nil
	})
}

// hitColumns compares with some of the contestants.
func hitColumns(to ...*contestant) []column {
	columns := []column{
		middle("ns", decimals(1), nsPerRequest),
		middle("allocations", decimals(4), func(r roles.Result) float64 { return float64(r.Allocations) / float64(r.Requests) }),
	}
	for _, base := range to {
		columns = append(columns, quartiles("more than "+base.name, decimals(1), 3, func(c *contestant) []float64 {
			return c.differences(base, nsPerRequest)
		})...)
	}
	return columns
}
