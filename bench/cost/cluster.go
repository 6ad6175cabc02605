package cost

import (
	"fmt"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/load"
)

// Patterns of a load.
const (
	keepAlive        = "keep-alive"
	shortConnections = "short connections" // each request has one of its own
)

// loads asks what our code adds to a request, and what more processes are good for.
func loads(nodes int, patterns ...string) func(config) []contest {
	return func(c config) (all []contest) {
		ours := fmt.Sprintf("cluster of %d", nodes)
		for _, pattern := range patterns {
			plan := load.Plan{Connections: c.connections, Duration: c.duration, KeepAlive: pattern == keepAlive}
			all = append(all, contest{
				rounds:  c.rounds,
				systems: []roles.Player{{System: roles.Plain}, {System: roles.Cluster, Peers: nodes}},
				entries: each(func(t *team) measureFunc { return t.load(plan) }, roles.Plain, ours),
				print:   titled(fmt.Sprintf("%s against one net/http process, %s", ours, pattern), loadRows),
			})
		}
		return all
	}
}

func loadRows(both []*contestant) [][]string {
	return versusRows(both,
		versus{name: "requests/s", format: decimals(0), of: perSecond},
		versus{name: "CPU us/request", format: decimals(2), of: cpuPerRequest},
		versus{name: "p50 us", format: decimals(0), of: p50},
		versus{name: "p99 us", format: decimals(0), of: p99})
}

// restarts asks how long a killed worker is missed. Each worker is the first of its cluster to die, so that no back-off is measured.
func restarts(c config) []contest {
	return []contest{{
		rounds:  2 * c.rounds,
		entries: inTurn(c.once("", roles.Player{System: roles.Cluster, Peers: 2}, restart)),
		print:   titled("SIGKILL of a worker until its replacement is ready, ms", timeRows),
	}}
}

// starts asks how long four nodes take from the start of the program, and a plain server, until they are ready.
func starts(c config) []contest {
	return []contest{{
		rounds: 2 * c.rounds,
		entries: inTurn(
			c.once(roles.Plain, roles.Player{System: roles.Plain}, started),
			c.once("cluster of 4", roles.Player{System: roles.Cluster, Peers: 4}, started)),
		print: titled("start of the program until it is ready, ms", timeRows),
	}}
}

// memories asks what an idle worker takes beyond an idle plain server.
func memories(c config) []contest {
	return []contest{{
		rounds: c.rounds,
		entries: inTurn(
			c.once(roles.Plain, roles.Player{System: roles.Plain}, memory),
			c.once("worker", roles.Player{System: roles.Cluster, Peers: 2}, memory)),
		print: titled("resident memory of an idle process", func(all []*contestant) [][]string {
			more := derived("difference", all[0], all[1], func(plain, worker roles.Result) roles.Result {
				return roles.Result{Memory: worker.Memory - plain.Memory}
			})
			return rows(append(all, more), middle("MiB", decimals(1), func(r roles.Result) float64 { return r.Memory }))
		}),
	}}
}
