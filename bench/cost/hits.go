package cost

import (
	"context"
	"fmt"
	"io"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

const (
	// hitNodes is how many nodes read and write.
	hitNodes = 4
	// writeRate is how many invalidations a second are due in each node.
	writeRate = 25_000
	// writeCallers is how many goroutines of a node call Invalidate.
	writeCallers = 512
	// sharedEach is for every how many-th invalidation to be of a key that is read.
	sharedEach = 100
	// hitSlices is how much longer than a slice the hits are measured: the slowest of a thousand has to be seen.
	hitSlices = 3
)

// hitLoads are what the writers of each node do.
var hitLoads = []struct {
	name  string
	order roles.Order
}{
	{"quiet", roles.Order{}},
	{"keys that nobody reads", roles.Order{Rate: writeRate, Senders: writeCallers}},
	{fmt.Sprintf("1 of %d is read", sharedEach), roles.Order{Rate: writeRate, Senders: writeCallers, Shared: sharedEach}},
	{"as many as it can", roles.Order{Senders: writeCallers}},
}

// measureHits asks how long a hit takes while others invalidate, for the cache with shared memory and without.
func measureHits(ctx context.Context, c config, w io.Writer) error {
	nodes := []roles.Player{{System: roles.Cache, Peers: hitNodes - 1}, {System: roles.CacheMessages, Peers: hitNodes - 1}}
	return c.withTeams(c.gomaxprocs[0], nodes, func(teams []*team) error {
		var ways [][]*contestant
		for _, t := range teams {
			ways = append(ways, c.underLoads(t))
		}
		if err := race(ctx, c.rounds, ways...); err != nil {
			return err
		}
		for i, way := range ways {
			table(w, fmt.Sprintf("%s: hits of %d nodes, each %d a ms, while each also invalidates, %d a second in sum, GOMAXPROCS %d, ns",
				nodes[i].System, hitNodes, roles.ReadBurst, hitNodes*c.writeRate, c.gomaxprocs[0]), hitRows(way)...)
			table(w, nodes[i].System+": the invalidations, us", writeRows(way[1:])...)
		}
		return nil
	})
}

// underLoads has a team do the same under each load.
func (c config) underLoads(t *team) (all []*contestant) {
	for _, l := range hitLoads {
		o := l.order
		o.Rate = min(o.Rate, float64(c.writeRate))
		o.Do, o.Duration, o.Warm = roles.ReadHits, hitSlices*c.slice, hitSlices*c.slice/roles.WarmUp
		all = append(all, t.does(l.name, o))
	}
	return all
}

func hitRows(all []*contestant) [][]string {
	whole := decimals(0)
	columns := []column{
		middle("hits/s", whole, perSecond),
		middle("misses", func(v float64) string { return decimals(2)(v) + " %" }, func(r roles.Result) float64 {
			return 100 * float64(r.Hits.Misses) / float64(r.Requests+r.Hits.Misses)
		}),
		middle("clock p50", whole, func(r roles.Result) float64 { return float64(r.Hits.Clock50) }),
		middle("clock p99", whole, func(r roles.Result) float64 { return float64(r.Hits.Clock99) }),
		middle("p50", whole, func(r roles.Result) float64 { return float64(r.P50) }),
		middle("p99", whole, func(r roles.Result) float64 { return float64(r.P99) }),
		middle("p99.9", whole, func(r roles.Result) float64 { return float64(r.Hits.P999) }),
	}
	return rows(all, append(columns, ratios("p99 to quiet", decimals(3), all[0], p99)...)...)
}

func writeRows(all []*contestant) [][]string {
	columns := quartiles("calls/s", decimals(0), 0, func(c *contestant) []float64 {
		return c.figures(func(r roles.Result) float64 { return float64(r.Hits.Writes) / r.Elapsed.Seconds() })
	})
	return rows(all, append(columns,
		summed("failed", func(r roles.Result) float64 { return float64(r.Failures) }),
		middle("p50", significant(0), func(r roles.Result) float64 { return microseconds(r.Hits.Write50) }),
		middle("p99", significant(0), func(r roles.Result) float64 { return microseconds(r.Hits.Write99) }),
		middle("CPUs of all nodes", decimals(2), func(r roles.Result) float64 {
			return r.CPU.Seconds() / (r.Elapsed.Seconds() * (1 + 1.0/roles.WarmUp))
		}))...)
}
