package cost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

func p50(r result) float64   { return float64(r.P50.Nanoseconds()) / 1e3 }
func p99(r result) float64   { return float64(r.P99.Nanoseconds()) / 1e3 }
func clock(r result) float64 { return float64(r.Clock.Nanoseconds()) / 1e3 }

// measureRoundTrips asks what a message and its answer cost.
func measureRoundTrips(ctx context.Context, c config, w io.Writer) error {
	for _, gomaxprocs := range c.gomaxprocs {
		s := setting{peers: 1, gomaxprocs: gomaxprocs, order: order{Do: roundTrips}}
		teams, err := c.contest(ctx, s, raw, framed, busName, natsName)
		if err != nil {
			return err
		}
		table(w, fmt.Sprintf("round trip of %d bytes between 2 processes, %v, us", messageSize, s), latencyRows(teams)...)
	}
	return nil
}

// measureFanOuts asks what it costs to reach all peers and to hear from all.
func measureFanOuts(ctx context.Context, c config, w io.Writer) error {
	for _, gomaxprocs := range c.gomaxprocs {
		for _, peers := range c.peers {
			s := setting{peers: peers, gomaxprocs: gomaxprocs, order: order{Do: fanOuts}}
			teams, err := c.contest(ctx, s, raw, rawReaders, framed, busName, natsName)
			if err != nil {
				return err
			}
			table(w, fmt.Sprintf("%d bytes to %d peers and all answers, %v, us", messageSize, peers, s), latencyRows(teams)...)
		}
	}
	return nil
}

// measureOneWay asks how many messages a second a link carries.
func measureOneWay(ctx context.Context, c config, w io.Writer) error {
	for _, gomaxprocs := range c.gomaxprocs {
		for _, senders := range []int{1, manySenders} {
			s := setting{peers: 1, gomaxprocs: gomaxprocs, order: order{Do: oneWay, Senders: senders}}
			teams, err := c.contest(ctx, s, raw, rawBatches, framed, busName, natsName)
			if err != nil {
				return err
			}
			title := fmt.Sprintf("one way on one link, %d bytes, %s, %v", messageSize, counted(senders, "sender"), s)
			table(w, title, speedRows(teams)...)
		}
	}
	return nil
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// setting is in what a contest takes place.
type setting struct {
	peers, gomaxprocs int
	order             order
}

func (s setting) String() string { return fmt.Sprintf("GOMAXPROCS %d", s.gomaxprocs) }

// contest has a team of each system do the same, and returns the teams, which have ended.
func (c config) contest(ctx context.Context, s setting, names ...string) (teams []*team, err error) {
	defer func() { err = errors.Join(err, stopTeams(teams)) }()
	for _, name := range names {
		t, err := c.startTeam(player{System: name, Peers: s.peers}, s.gomaxprocs)
		if err != nil {
			return teams, err
		}
		teams = append(teams, t)
	}
	s.order.Warm, s.order.Duration = c.slice/warmUp, c.slice
	return teams, contest(ctx, c.rounds, teams, s.order)
}

// warmUp is how much shorter the time is that does not count, with caches and clocks that others have left.
const warmUp = 5

// speedRows compares with the first of the teams.
func speedRows(teams []*team) [][]string {
	rows := [][]string{{"", "messages/s", "CPU us/message", "ratio to raw", "quartiles"}}
	for _, t := range teams {
		ratio := t.ratios(teams[0], result.perSecond)
		rows = append(rows, []string{
			t.system, fmt.Sprintf("%.0f", median(t.figures(result.perSecond))),
			fmt.Sprintf("%.3f", median(t.figures(result.cpuPerRequest))), fmt.Sprintf("%.3f", median(ratio)), spread(ratio),
		})
	}
	return rows
}

// latencyRows compares with the fastest of the raw teams, and with those that have a broker.
func latencyRows(teams []*team) [][]string {
	baseline := fastest(teams)
	others := append([]*team{baseline}, slices.DeleteFunc(slices.Clone(teams), func(t *team) bool { return t.rival() == "" })...)
	head := []string{"", "clock", "p50", "p99", "CPU"}
	for _, o := range others {
		head = append(head, "p50 to "+cmp.Or(o.rival(), o.system), "quartiles")
	}
	rows := [][]string{head}
	for _, t := range teams {
		row := []string{t.system}
		for _, figure := range []func(result) float64{clock, p50, p99, result.cpuPerRequest} {
			row = append(row, digits(1, median(t.figures(figure))))
		}
		for _, o := range others {
			ratio := t.ratios(o, p50)
			row = append(row, digits(3, median(ratio)), spread(ratio))
		}
		rows = append(rows, row)
	}
	return rows
}

// fastest returns the raw team of the lowest p50.
func fastest(teams []*team) (best *team) {
	for _, t := range teams {
		if isRaw(t) && (best == nil || median(t.figures(p50)) < median(best.figures(p50))) {
			best = t
		}
	}
	return best
}

// measureInvalidations asks what it costs that no process has a value any more, which all have had stored, to be told
// of a message to each and its answer.
func measureInvalidations(ctx context.Context, c config, w io.Writer) error {
	names := []string{raw, rawReaders, busName, cacheName, cacheMessages, natsCached}
	if hasRedis() {
		names = append(names, redisCached)
	} else {
		fmt.Fprint(w, redisMissing)
	}
	keys, err := keysFor(c.slice/warmUp + c.slice)
	if err != nil {
		return err
	}
	var all []*team
	for _, gomaxprocs := range c.gomaxprocs {
		for _, peers := range c.peers {
			s := setting{peers: peers, gomaxprocs: gomaxprocs, order: order{Do: fanOuts, Keys: keys}}
			teams, err := c.contest(ctx, s, names...)
			if err != nil {
				return err
			}
			table(w, fmt.Sprintf("a value is gone here and in %d peers, for certain, %v, us", peers, s), latencyRows(teams)...)
			all = append(all, teams...)
		}
	}
	table(w, "each process has lost all that was invalidated, of twice as much or more; what it has lost besides", lossRows(names, all)...)
	return nil
}

// lossRows tells what the teams of each name have lost, if they have a cache.
func lossRows(names []string, teams []*team) [][]string {
	rows := [][]string{{"", "values invalidated", "lost besides, in a process"}}
	for _, name := range names {
		var invalidated int64
		var besides float64
		for _, t := range teams {
			if t.system == name {
				for _, r := range t.results {
					invalidated += r.Lost.Invalidated
					besides += float64(r.Lost.Besides) / float64(len(t.peers)+1)
				}
			}
		}
		if invalidated > 0 {
			rows = append(rows, []string{name, fmt.Sprint(invalidated), fmt.Sprintf("%.1f", besides)})
		}
	}
	return rows
}
