package cost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gonum.org/v1/gonum/floats"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// exchange has the leaders of several systems carry out the same orders, one after the other.
type exchange struct {
	systems []string
	peers   []int
	orders  []roles.Order
	title   string // with {peers}, {senders} and {gomaxprocs}
	columns func(teams []*contestant) []column
}

func (x exchange) contests(c config) (all []contest) {
	for _, gomaxprocs := range c.gomaxprocs {
		for _, peers := range x.peers {
			for _, o := range x.orders {
				words := strings.NewReplacer("{peers}", strconv.Itoa(peers), "{senders}", strconv.Itoa(o.Senders),
					"{gomaxprocs}", strconv.Itoa(gomaxprocs))
				all = append(all, contest{
					rounds:  c.rounds,
					systems: roles.Player{Peers: peers, GOMAXPROCS: gomaxprocs}.In(x.systems...),
					entries: each(func(t *team) measureFunc { return t.does(o.For(c.slice)) }, x.systems...),
					print:   titled(words.Replace(x.title), func(teams []*contestant) [][]string { return rows(teams, x.columns(teams)...) }),
				})
			}
		}
	}
	return all
}

// roundTrips asks what a message and its answer cost.
func roundTrips(c config) []contest {
	return exchange{
		systems: []string{roles.Raw, roles.Framing, roles.Bus, roles.NATS},
		peers:   []int{1}, orders: []roles.Order{{Do: roles.RoundTrips}},
		title:   fmt.Sprintf("round trip of %d bytes between 2 processes, GOMAXPROCS {gomaxprocs}, us", roles.MessageSize),
		columns: latencies,
	}.contests(c)
}

// fanOuts asks what it costs to reach all peers and to hear from all.
func fanOuts(c config) []contest {
	return exchange{
		systems: []string{roles.Raw, roles.RawReaders, roles.Framing, roles.Bus, roles.NATS},
		peers:   c.peers, orders: []roles.Order{{Do: roles.FanOuts}},
		title:   fmt.Sprintf("%d bytes to {peers} peers and all answers, GOMAXPROCS {gomaxprocs}, us", roles.MessageSize),
		columns: latencies,
	}.contests(c)
}

// oneWays asks how many messages a second a link carries, from one goroutine and from many at a time.
func oneWays(c config) []contest {
	return exchange{
		systems: []string{roles.Raw, roles.RawBatches, roles.Framing, roles.Bus, roles.NATS},
		peers:   []int{1}, orders: []roles.Order{{Do: roles.OneWay, Senders: 1}, {Do: roles.OneWay, Senders: 16}},
		title: fmt.Sprintf("one way on one link, %d bytes, senders: {senders}, GOMAXPROCS {gomaxprocs}", roles.MessageSize),
		columns: func(teams []*contestant) []column {
			return append([]column{
				middle("messages/s", decimals(0), perSecond),
				middle("CPU us/message", decimals(3), cpuPerRequest),
			}, ratios("ratio to raw", decimals(3), teams[0], perSecond)...)
		},
	}.contests(c)
}

// latencies compares with the fastest raw team, and with the teams that have a broker.
func latencies(teams []*contestant) []column {
	columns := []column{
		middle("clock", significant(1), func(r roles.Result) float64 { return microseconds(r.Clock.P50) }),
		middle("p50", significant(1), p50), middle("p99", significant(1), p99), middle("CPU", significant(1), cpuPerRequest),
	}
	baseline := fastest(teams)
	for _, t := range teams {
		name, _, _ := strings.Cut(t.name, ",")
		switch {
		case t == baseline:
			columns = append(columns, ratios("p50 to "+t.name, significant(3), t, p50)...)
		case name == roles.NATS, name == "Redis":
			columns = append(columns, ratios("p50 to "+name, significant(3), t, p50)...)
		}
	}
	return columns
}

// fastest returns the raw team of the lowest p50.
func fastest(teams []*contestant) *contestant {
	isOther := func(t *contestant) bool { return !strings.HasPrefix(t.name, roles.Raw) }
	return slices.MinFunc(slices.DeleteFunc(slices.Clone(teams), isOther), func(a, b *contestant) int {
		return cmp.Compare(median(a.figures(p50)), median(b.figures(p50)))
	})
}

// meshStarts asks how long many nodes take to find one another when they start at once, and how much of it the start of a process
// takes.
func meshStarts(c config) []contest {
	start := func(system string) *contestant {
		return c.once(system, roles.Player{System: system, Peers: c.nodes, GOMAXPROCS: c.gomaxprocs[0]}, started)
	}
	return []contest{{
		rounds:  2 * c.rounds,
		entries: inTurn(start(roles.Trivial), start(roles.Mesh)),
		print: titled(fmt.Sprintf("start of %d processes at once, from the start of the first, ms", c.nodes), func(all []*contestant) [][]string {
			took := func(name string, of func(trivial, mesh roles.Result) time.Duration) *contestant {
				return derived(name, all[0], all[1], func(t, m roles.Result) roles.Result { return roles.Result{Elapsed: of(t, m)} })
			}
			return timeRows([]*contestant{
				took("processes that do nothing: all run", func(t, _ roles.Result) time.Duration { return t.Began }),
				took("nodes: all have called Join", func(_, m roles.Result) time.Duration { return m.Began }),
				took("nodes: each has all peers", func(_, m roles.Result) time.Duration { return m.Elapsed }),
				took("nodes beyond processes that do nothing", func(t, m roles.Result) time.Duration { return m.Elapsed - t.Began }),
			})
		}),
	}}
}

// joins asks how long one more node takes until all know of it.
func joins(c config) []contest {
	there := roles.Player{Peers: c.nodes - 1, GOMAXPROCS: c.gomaxprocs[0]}
	return []contest{{
		rounds:  2 * c.rounds,
		systems: there.In(roles.Hello, roles.Mesh),
		entries: each(func(t *team) measureFunc {
			id := t.Peers
			return func(ctx context.Context) (r roles.Result, err error) {
				id++
				r.Elapsed, err = t.join(ctx, id)
				return r, err
			}
		}, "raw: a connection and a hello to each", "mesh"),
		print: titled(fmt.Sprintf("join of one into %d, from the call until all %d know, ms", c.nodes-1, c.nodes), timeRows),
	}}
}

const (
	// stalledPeer is the peer that stops: not the first peer, which answers.
	stalledPeer = 2
	// stallRounds are few, since each takes three times as long as the peer is stopped.
	stallRounds = 3
)

// stalls asks whether a peer that does not read slows the others.
func stalls(c config) []contest {
	all := roles.Player{System: roles.Bus, Peers: 3, GOMAXPROCS: c.gomaxprocs[0]}
	calm := roles.Order{Do: roles.RoundTrips, Flood: 2}.For(c.stall / 2)
	fewer, alone := all, calm
	fewer.Peers, alone.Flood = 2, 1 // the other source would wait for the stopped peer
	return []contest{{
		rounds:  min(stallRounds, c.rounds),
		systems: []roles.Player{all, fewer},
		entries: func(teams []*team) []*contestant {
			return []*contestant{ // the two halves tell how much a p99 changes by itself
				{name: "nobody, first half", measure: teams[0].does(calm)},
				{name: "nobody, second half", measure: teams[0].does(calm)},
				{name: "the third is not there", measure: teams[1].does(alone)},
				{name: "the third is stopped", measure: teams[0].whileStopped(c.stall)},
			}
		},
		print: titled(fmt.Sprintf("requests from a node, which also broadcasts to all, to a second one, while a third is stopped for %v, us",
			c.stall), stallRows),
	}}
}

// whileStopped resumes the peer only after the bound was met.
func (t *team) whileStopped(d time.Duration) measureFunc {
	return func(context.Context) (r roles.Result, err error) {
		p := t.peers[stalledPeer-1]
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, p.Signal(syscall.SIGCONT)) }()
		return t.ask(roles.Order{Do: roles.RoundTrips, Duration: d, Flood: 2, Bound: true})
	}
}

// stallRows compares the stall with two baselines: no peer stopped, the mean of the two halves, and the third peer absent.
func stallRows(all []*contestant) [][]string {
	both := derived("nobody is stopped", all[0], all[1], func(a, b roles.Result) roles.Result {
		return roles.Result{Latency: roles.Latency{P50: (a.P50 + b.P50) / 2, P99: (a.P99 + b.P99) / 2, Max: max(a.Max, b.Max)}}
	})
	return rows(slices.Concat([]*contestant{both}, all), slices.Concat(
		[]column{
			middle("p50", decimals(1), p50), middle("p99", decimals(1), p99),
			over("max", decimals(0), floats.Max, func(r roles.Result) float64 { return microseconds(r.Max) }),
		},
		ratios("p99 to nobody stopped", decimals(3), both, p99),
		ratios("p99 to not there", decimals(3), all[2], p99))...)
}
