package cost

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// manySenders is how many goroutines send at a time where many do.
const manySenders = 16

// contest measures teams of several systems in turn, for each number of peers and each order.
type contest struct {
	systems []string
	peers   []int
	orders  []roles.Order
	title   func(peers int, o roles.Order) string
	unit    string
	columns func(teams []*contestant) []column
}

// hold prints a table for each setting, and returns all teams, which have ended.
func (c config) hold(ctx context.Context, w io.Writer, k contest) (all []*contestant, err error) {
	for _, gomaxprocs := range c.gomaxprocs {
		for _, peers := range k.peers {
			for _, o := range k.orders {
				o.Warm, o.Duration = c.slice/roles.WarmUp, c.slice
				teams, err := c.holdOne(ctx, k.systems, peers, gomaxprocs, o)
				if err != nil {
					return nil, err
				}
				table(w, fmt.Sprintf("%s, GOMAXPROCS %d%s", k.title(peers, o), gomaxprocs, k.unit), rows(teams, k.columns(teams)...)...)
				all = append(all, teams...)
			}
		}
	}
	return all, nil
}

func (c config) holdOne(ctx context.Context, systems []string, peers, gomaxprocs int, o roles.Order) (all []*contestant, err error) {
	var leaders []roles.Player
	for _, name := range systems {
		leaders = append(leaders, roles.Player{System: name, Peers: peers})
	}
	return all, c.withTeams(gomaxprocs, leaders, func(teams []*team) error {
		for i, t := range teams {
			all = append(all, t.does(systems[i], o))
		}
		return race(ctx, c.rounds, all)
	})
}

// measureRoundTrips asks what a message and its answer cost.
func measureRoundTrips(ctx context.Context, c config, w io.Writer) error {
	_, err := c.hold(ctx, w, contest{
		systems: []string{roles.Raw, roles.Framing, roles.Bus, roles.NATS}, peers: []int{1}, orders: []roles.Order{{Do: roles.RoundTrips}},
		title: func(int, roles.Order) string {
			return fmt.Sprintf("round trip of %d bytes between 2 processes", roles.MessageSize)
		},
		columns: latencies, unit: ", us",
	})
	return err
}

// measureFanOuts asks what it costs to reach all peers and to hear from all.
func measureFanOuts(ctx context.Context, c config, w io.Writer) error {
	_, err := c.hold(ctx, w, contest{
		systems: []string{roles.Raw, roles.RawReaders, roles.Framing, roles.Bus, roles.NATS}, peers: c.peers, orders: []roles.Order{{Do: roles.FanOuts}},
		title: func(peers int, _ roles.Order) string {
			return fmt.Sprintf("%d bytes to %d peers and all answers", roles.MessageSize, peers)
		},
		columns: latencies, unit: ", us",
	})
	return err
}

// measureOneWay asks how many messages a second a link carries.
func measureOneWay(ctx context.Context, c config, w io.Writer) error {
	_, err := c.hold(ctx, w, contest{
		systems: []string{roles.Raw, roles.RawBatches, roles.Framing, roles.Bus, roles.NATS}, peers: []int{1},
		orders: []roles.Order{{Do: roles.OneWay, Senders: 1}, {Do: roles.OneWay, Senders: manySenders}},
		title: func(_ int, o roles.Order) string {
			return fmt.Sprintf("one way on one link, %d bytes, senders: %d", roles.MessageSize, o.Senders)
		},
		columns: func(teams []*contestant) []column {
			return append([]column{
				middle("messages/s", decimals(0), perSecond),
				middle("CPU us/message", decimals(3), cpuPerRequest),
			}, ratios("ratio to raw", decimals(3), teams[0], perSecond)...)
		},
	})
	return err
}

// latencies compares with the fastest raw team, and with the teams that have a broker.
func latencies(teams []*contestant) []column {
	columns := []column{
		middle("clock", significant(1), clock), middle("p50", significant(1), p50), middle("p99", significant(1), p99),
		middle("CPU", significant(1), cpuPerRequest),
	}
	baseline := fastest(teams)
	for _, t := range teams {
		if broker := brokerOf(t.name); t == baseline || broker != "" {
			columns = append(columns, ratios("p50 to "+cmp.Or(broker, t.name), significant(3), t, p50)...)
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

// measureInvalidations asks what it costs that no process has a value any more, which all have had stored, to be told
// of a message to each and its answer.
func measureInvalidations(ctx context.Context, c config, w io.Writer) error {
	names := []string{roles.Raw, roles.RawReaders, roles.Bus, roles.Cache, roles.CacheMessages, roles.NATSCached}
	if hasRedis() {
		names = append(names, roles.RedisCached)
	} else {
		fmt.Fprint(w, redisMissing)
	}
	keys, err := roles.KeysFor(c.slice/roles.WarmUp + c.slice)
	if err != nil {
		return err
	}
	teams, err := c.hold(ctx, w, contest{
		systems: names, peers: c.peers, orders: []roles.Order{{Do: roles.FanOuts, Keys: keys}},
		title: func(peers int, _ roles.Order) string {
			return fmt.Sprintf("a value is gone here and in %d peers, for certain", peers)
		},
		columns: latencies, unit: ", us",
	})
	if err != nil {
		return err
	}
	table(w, "each process has lost all that was invalidated, of twice as much or more; what it has lost besides", lossRows(names, teams)...)
	return nil
}

// lossRows tells what the teams of each name have lost, if they have a cache.
func lossRows(names []string, teams []*contestant) [][]string {
	all := [][]string{{"", "values invalidated", "lost besides, in a process"}}
	for _, name := range names {
		var invalidated int64
		var besides float64
		for _, t := range teams {
			for _, r := range t.results {
				if t.name == name {
					invalidated += r.Lost.Invalidated
					besides += float64(r.Lost.Besides) / float64(r.Lost.Processes)
				}
			}
		}
		if invalidated > 0 {
			all = append(all, []string{name, fmt.Sprint(invalidated), decimals(1)(besides)})
		}
	}
	return all
}
