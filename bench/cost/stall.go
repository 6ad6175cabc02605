package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// stalledPeer is the one that stops: not the first, which answers.
const stalledPeer = 2

// Both sources of a flood, and the one that is left when the other one waits for the stopped peer.
const (
	bothSources = 2
	oneSource   = 1
)

// stalled is what requests between two nodes take while a third is stopped, and when it is not.
type stalled struct {
	before [2]result // two in a row, which tell how much a p99 changes by itself
	during result
	absent result // without the third, and without those who wait for it
}

// measureStall asks whether a peer that does not read slows the others.
func measureStall(ctx context.Context, c config, w io.Writer) (err error) {
	var teams []*team
	defer func() { err = errors.Join(err, stopTeams(teams)) }()
	for _, peers := range []int{3, 2} {
		t, err := c.startTeam(player{System: busName, Peers: peers, Window: c.window}, c.gomaxprocs[0])
		if err != nil {
			return err
		}
		teams = append(teams, t)
	}
	var all []stalled
	for range c.stalls {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s, err := teams[0].stallOnce(c.stall)
		if err != nil {
			return err
		}
		if s.absent, err = teams[1].withoutStall(c.stall); err != nil {
			return err
		}
		all = append(all, s)
	}
	table(w, fmt.Sprintf("requests from a node, which also broadcasts to all, to a second one, while a third is stopped for %v, us",
		c.stall), stallRows(all)...)
	return nil
}

// stallOnce measures before a peer is stopped, and while it is.
func (t *team) stallOnce(d time.Duration) (s stalled, err error) {
	if _, err := t.ask(order{Do: floodOn, Senders: bothSources}); err != nil {
		return s, err
	}
	for i := range s.before {
		if s.before[i], err = t.ask(order{Do: roundTrips, Warm: d / warmUp / 2, Duration: d / 2}); err != nil {
			return s, err
		}
	}
	if s.during, err = t.whileStopped(t.peers[stalledPeer-1], d); err != nil {
		return s, err
	}
	_, err = t.ask(order{Do: floodOff})
	return s, err
}

// whileStopped resumes p only after the bound was met, or the figures would show nothing.
func (t *team) whileStopped(p *child.Process, d time.Duration) (r result, err error) {
	if err := pause(p); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, resume(p)) }()
	if r, err = t.ask(order{Do: roundTrips, Duration: d}); err != nil {
		return r, err
	}
	_, err = t.ask(order{Do: floodBound, Duration: 10 * d})
	return r, err
}

// withoutStall measures with the flood that a stopped peer leaves to the others.
func (t *team) withoutStall(d time.Duration) (result, error) {
	if _, err := t.ask(order{Do: floodOn, Senders: oneSource}); err != nil {
		return result{}, err
	}
	r, err := t.ask(order{Do: roundTrips, Warm: d / warmUp / 2, Duration: d / 2})
	if err != nil {
		return r, err
	}
	_, err = t.ask(order{Do: floodOff})
	return r, err
}

func stallRows(all []stalled) [][]string {
	rows := [][]string{{"", "p50", "p99", "max", "p99 to nobody stopped", "quartiles", "p99 to not there", "quartiles"}}
	for _, row := range []struct {
		name    string
		results func(stalled) []result
	}{
		{"nobody is stopped", func(s stalled) []result { return s.before[:] }},
		{"nobody, first half", func(s stalled) []result { return s.before[:1] }},
		{"nobody, second half", func(s stalled) []result { return s.before[1:] }},
		{"the third is not there", func(s stalled) []result { return []result{s.absent} }},
		{"the third is stopped", func(s stalled) []result { return []result{s.during} }},
	} {
		rows = append(rows, stallRow(row.name, all, row.results))
	}
	return rows
}

func stallRow(name string, all []stalled, of func(stalled) []result) []string {
	var middle, high, most, toBefore, toAbsent []float64
	for _, s := range all {
		results := of(s)
		p := mean(results, p99)
		middle, high = append(middle, mean(results, p50)), append(high, p)
		toBefore, toAbsent = append(toBefore, p/mean(s.before[:], p99)), append(toAbsent, p/p99(s.absent))
		for _, r := range results {
			most = append(most, float64(r.Max.Microseconds()))
		}
	}
	return []string{
		name, fmt.Sprintf("%.1f", median(middle)), fmt.Sprintf("%.1f", median(high)), fmt.Sprintf("%.0f", slices.Max(most)),
		fmt.Sprintf("%.3f", median(toBefore)), spread(toBefore), fmt.Sprintf("%.3f", median(toAbsent)), spread(toAbsent),
	}
}

func mean(results []result, figure func(result) float64) (sum float64) {
	for _, r := range results {
		sum += figure(r)
	}
	return sum / float64(len(results))
}
