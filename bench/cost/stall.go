package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/bench/cost/roles"
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
	before [2]roles.Result // two in a row, which tell how much a p99 changes by itself
	during roles.Result
	absent roles.Result // without the third, and without those who wait for it
}

// measureStall asks whether a peer that does not read slows the others.
func measureStall(ctx context.Context, c config, w io.Writer) error {
	leaders := []roles.Player{{System: roles.Bus, Peers: 3, Window: c.window}, {System: roles.Bus, Peers: 2, Window: c.window}}
	return c.withTeams(c.gomaxprocs[0], leaders, func(teams []*team) error {
		all := make([]stalled, c.stalls)
		for i := range all {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := all[i].measure(teams[0], teams[1], c.stall); err != nil {
				return err
			}
		}
		table(w, fmt.Sprintf("requests from a node, which also broadcasts to all, to a second one, while a third is stopped for %v, us",
			c.stall), stallRows(all)...)
		return nil
	})
}

// measure measures before a peer is stopped, while it is, and where there is none.
func (s *stalled) measure(all, fewer *team, d time.Duration) error {
	calm := roles.Order{Do: roles.RoundTrips, Warm: d / roles.WarmUp / 2, Duration: d / 2}
	err := all.flooded(bothSources, func() (err error) {
		for i := range s.before {
			if s.before[i], err = all.ask(calm); err != nil {
				return err
			}
		}
		s.during, err = all.whileStopped(all.peers[stalledPeer-1], d)
		return err
	})
	if err != nil {
		return err
	}
	return fewer.flooded(oneSource, func() (err error) {
		s.absent, err = fewer.ask(calm)
		return err
	})
}

// flooded does something while there is a flood.
func (t *team) flooded(sources int, do func() error) error {
	if _, err := t.ask(roles.Order{Do: roles.FloodOn, Senders: sources}); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	_, err := t.ask(roles.Order{Do: roles.FloodOff})
	return err
}

// whileStopped resumes p only after the bound was met, or the figures would show nothing.
func (t *team) whileStopped(p *child.Process, d time.Duration) (r roles.Result, err error) {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.Signal(syscall.SIGCONT)) }()
	if r, err = t.ask(roles.Order{Do: roles.RoundTrips, Duration: d}); err != nil {
		return r, err
	}
	_, err = t.ask(roles.Order{Do: roles.FloodBound, Duration: 10 * d})
	return r, err
}

func stallRows(all []stalled) [][]string {
	return [][]string{
		{"", "p50", "p99", "max", "p99 to nobody stopped", "quartiles", "p99 to not there", "quartiles"},
		stallRow("nobody is stopped", all, func(s stalled) []roles.Result { return s.before[:] }),
		stallRow("nobody, first half", all, func(s stalled) []roles.Result { return s.before[:1] }),
		stallRow("nobody, second half", all, func(s stalled) []roles.Result { return s.before[1:] }),
		stallRow("the third is not there", all, func(s stalled) []roles.Result { return []roles.Result{s.absent} }),
		stallRow("the third is stopped", all, func(s stalled) []roles.Result { return []roles.Result{s.during} }),
	}
}

func stallRow(name string, all []stalled, of func(stalled) []roles.Result) []string {
	var middle, high, most, toBefore, toAbsent []float64
	for _, s := range all {
		results := of(s)
		p := mean(results, p99)
		middle, high = append(middle, mean(results, p50)), append(high, p)
		toBefore, toAbsent = append(toBefore, p/mean(s.before[:], p99)), append(toAbsent, p/p99(s.absent))
		for _, r := range results {
			most = append(most, microseconds(r.Max))
		}
	}
	return []string{
		name, decimals(1)(median(middle)), decimals(1)(median(high)), decimals(0)(slices.Max(most)),
		decimals(3)(median(toBefore)), spread(toBefore), decimals(3)(median(toAbsent)), spread(toAbsent),
	}
}

func mean(results []roles.Result, of figure) (sum float64) {
	for _, r := range results {
		sum += of(r)
	}
	return sum / float64(len(results))
}
