package cost

import (
	"fmt"
	"io"

	"gonum.org/v1/gonum/floats"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// invalidations asks what it costs that no process has a value any more, which all have had stored, to be told of a message to each
// and its answer.
func invalidations(c config) (all []contest) {
	x := exchange{
		systems: []string{roles.Raw, roles.RawReaders, roles.Bus, roles.Cache, roles.CacheMessages, roles.NATSCached},
		peers:   c.peers, orders: []roles.Order{{Do: roles.FanOuts, Keys: roles.KeysFor(c.slice + c.slice/roles.WarmUp)}},
		title:   "a value is gone here and in {peers} peers, for certain, GOMAXPROCS {gomaxprocs}, us",
		columns: latencies,
	}
	missing := redisMissing
	if hasRedis() {
		x.systems, missing = append(x.systems, roles.RedisCached), ""
	}
	var held []*contestant
	for _, k := range x.contests(c) {
		show := k.print
		k.print = func(w io.Writer, teams []*contestant) {
			show(w, teams)
			held = append(held, teams...)
		}
		all = append(all, k)
	}
	return append(all, contest{print: func(w io.Writer, _ []*contestant) {
		fmt.Fprint(w, missing)
		title := "each process has lost all that was invalidated, of twice as much or more; what it has lost besides"
		table(w, title, lossRows(x.systems, held)...)
	}})
}

// lossRows tells what the teams of each name have lost, if they have a cache.
func lossRows(names []string, teams []*contestant) [][]string {
	var caches []*contestant
	for _, name := range names {
		all := &contestant{name: name}
		for _, t := range teams {
			if t.name == name {
				all.results = append(all.results, t.results...)
			}
		}
		if all.results[0].Lost.Processes > 0 {
			caches = append(caches, all)
		}
	}
	return rows(caches,
		over("values invalidated", decimals(0), floats.Sum, func(r roles.Result) float64 { return float64(r.Lost.Invalidated) }),
		over("lost besides, in a process", decimals(1), floats.Sum, func(r roles.Result) float64 {
			return float64(r.Lost.Besides) / float64(r.Lost.Processes)
		}))
}

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

// hitsBesideWrites asks how long a hit takes while others invalidate, for the cache with shared memory and without.
func hitsBesideWrites(c config) (all []contest) {
	for _, p := range (roles.Player{Peers: hitNodes - 1, GOMAXPROCS: c.gomaxprocs[0]}).In(roles.Cache, roles.CacheMessages) {
		all = append(all, contest{
			rounds:  c.rounds,
			systems: []roles.Player{p},
			entries: func(teams []*team) (loads []*contestant) {
				for _, l := range hitLoads {
					o := l.order.For(hitSlices * c.slice)
					o.Do, o.Rate = roles.ReadHits, min(o.Rate, float64(c.writeRate))
					loads = append(loads, &contestant{name: l.name, measure: teams[0].does(o)})
				}
				return loads
			},
			print: func(w io.Writer, loads []*contestant) {
				table(w, fmt.Sprintf("%s: hits of %d nodes, each %d a ms, while each also invalidates, %d a second in sum, GOMAXPROCS %d, ns",
					p.System, hitNodes, roles.ReadBurst, hitNodes*c.writeRate, p.GOMAXPROCS), readRows(loads)...)
				table(w, p.System+": the invalidations, us", writeRows(loads[1:])...)
			},
		})
	}
	return all
}

func readRows(all []*contestant) [][]string {
	whole := decimals(0)
	columns := []column{
		middle("hits/s", whole, perSecond),
		middle("misses", func(v float64) string { return decimals(2)(v) + " %" }, func(r roles.Result) float64 {
			return 100 * float64(r.Misses) / float64(r.Requests+r.Misses)
		}),
		middle("clock p50", whole, func(r roles.Result) float64 { return float64(r.Clock.P50) }),
		middle("clock p99", whole, func(r roles.Result) float64 { return float64(r.Clock.P99) }),
		middle("p50", whole, func(r roles.Result) float64 { return float64(r.P50) }),
		middle("p99", whole, func(r roles.Result) float64 { return float64(r.P99) }),
		middle("p99.9", whole, func(r roles.Result) float64 { return float64(r.P999) }),
	}
	return rows(all, append(columns, ratios("p99 to quiet", decimals(3), all[0], p99)...)...)
}

func writeRows(all []*contestant) [][]string {
	columns := quartiles("calls/s", decimals(0), 0, func(c *contestant) []float64 {
		return c.figures(func(r roles.Result) float64 { return float64(r.Writes) / r.Elapsed.Seconds() })
	})
	return rows(all, append(columns,
		over("failed", decimals(0), floats.Sum, func(r roles.Result) float64 { return float64(r.Failures) }),
		middle("p50", significant(0), func(r roles.Result) float64 { return microseconds(r.Write.P50) }),
		middle("p99", significant(0), func(r roles.Result) float64 { return microseconds(r.Write.P99) }),
		middle("CPUs of all nodes", decimals(2), func(r roles.Result) float64 {
			return r.CPU.Seconds() / (r.Elapsed.Seconds() * (1 + 1.0/roles.WarmUp))
		}))...)
}

// hits asks what a hit costs beyond one of the cache that is below.
func hits(c config) []contest {
	return []contest{{
		rounds:  c.rounds,
		systems: []roles.Player{{System: roles.Cache, Peers: 1, GOMAXPROCS: c.gomaxprocs[0]}},
		entries: func(teams []*team) (all []*contestant) {
			for _, name := range roles.HitSystems() {
				all = append(all, &contestant{name: name, measure: teams[0].does(roles.Order{Do: name}.For(c.slice))})
			}
			return all
		},
		print: titled(fmt.Sprintf("CPU time of a hit in one process, one after the other, GOMAXPROCS %d", c.gomaxprocs[0]), hitRows),
	}}
}

// hitRows compares with the first two.
func hitRows(all []*contestant) [][]string {
	columns := []column{
		middle("ns", decimals(1), nsPerRequest),
		middle("allocations", decimals(4), func(r roles.Result) float64 { return float64(r.Allocations) / float64(r.Requests) }),
	}
	for _, base := range all[:2] {
		columns = append(columns, quartiles("more than "+base.name, decimals(1), 3, func(c *contestant) []float64 {
			return c.differences(base, nsPerRequest)
		})...)
	}
	return rows(all, columns...)
}

const (
	// shopConnections is how many requests wait at a time in the closed loop, and openConnections at a rate.
	shopConnections, openConnections = 16, 64
	// shopRate is the share of what the program without the cache can do.
	shopRate = 0.3
)

// catalogs asks what the cache brings to a program whose values come from a database: first how many requests it can do, and then at
// a rate.
func catalogs(c config) []contest {
	closed, open := roles.Order{Do: roles.Buy, Senders: shopConnections}, roles.Order{Do: roles.Buy, Senders: openConnections}
	shop := func(o *roles.Order) contest {
		return contest{
			rounds:  c.rounds,
			systems: roles.Player{}.In(roles.ShopNoCache, roles.Shop),
			entries: each(func(t *team) measureFunc { return t.does(o.For(c.duration / 3)) }, "no cache", "cache"),
			print: func(w io.Writer, both []*contestant) {
				load := fmt.Sprintf("each of %d connections in a closed loop", o.Senders)
				if o.Rate > 0 {
					load = fmt.Sprintf("%.0f requests a second", o.Rate)
				}
				table(w, "a catalogue of 1000 products on 4 nodes, 90 % reads, 10 % writes, Zipf, "+load, shopRows(both)...)
				open.Rate = max(1, shopRate*median(both[0].figures(perSecond)))
			},
		}
	}
	return []contest{shop(&closed), shop(&open)}
}

func shopRows(both []*contestant) [][]string {
	count := decimals(0)
	return versusRows(both,
		versus{name: "requests/s", format: count, of: perSecond},
		versus{name: "reads, p50 us", format: count, of: p50},
		versus{name: "reads, p99 us", format: count, of: p99},
		versus{name: "CPU us/request", format: count, of: cpuPerRequest},
		versus{name: "reads of the database, of a request", format: decimals(3), of: func(r roles.Result) float64 {
			return float64(r.Misses+r.Conflicts) / float64(r.Requests)
		}},
		versus{name: "reads answered from the database", format: decimals(3), of: func(r roles.Result) float64 {
			return float64(r.Misses) / float64(r.Requests-r.Writes-r.Conflicts)
		}},
		versus{name: "writes, in a round", format: count, isCount: true, of: func(r roles.Result) float64 { return float64(r.Writes) }},
		versus{name: "writes that came too late, in a round", format: count, isCount: true, of: func(r roles.Result) float64 {
			return float64(r.Conflicts)
		}})
}
