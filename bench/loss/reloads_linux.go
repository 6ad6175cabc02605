package loss

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

const (
	reloadInterval = 100 * time.Millisecond
	reloadClients  = 64
	statusInterval = 2 * time.Millisecond
	// A p99 under reloads may be so much longer than without, or so long.
	reloadRatio = 1.5
	reloadP99   = 8 * time.Millisecond
)

// proveReloads reloads all the time under keep-alive load, and watches that as many nodes as are wanted are ready.
func proveReloads(ctx context.Context, c config) (_ *report, err error) {
	s, err := startServer(serve{Addr: ":0", Nodes: nodes, MasterListens: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	r := &report{Title: fmt.Sprintf("Reloads of %d nodes every %v under %d keep-alive connections", nodes, reloadInterval, reloadClients)}
	r.row("", "reloads", "requests", "requests/s", "connections", "failed", "of them", "p50 ms", "p99 ms", "max ms")
	reloads := 0
	trial := func(name string, f func() error) (load.Result, error) {
		t, err := s.upTo(ctx, c.Requests, f)
		if err == nil {
			r.row(name, reloads, sent(t), fmt.Sprintf("%.0f", float64(sent(t))/t.Elapsed.Seconds()), t.Connections, t.Failures(), kinds(t),
				t.Quantile(50), t.Quantile(99), t.Quantile(100))
			r.expectAll(name, t)
		}
		return t, err
	}
	quiet, err := trial("none", func() error { time.Sleep(reloadInterval); return nil })
	if err != nil {
		return nil, err
	}
	var busy load.Result
	lowest, looks := nodes, 0
	watch := func(ctx context.Context) error { return s.watchCapacity(ctx, c.Untimed, &lowest, &looks) }
	err = beside(ctx, watch, func() (err error) {
		busy, err = trial("reloads", func() error {
			next := time.Now().Add(reloadInterval)
			err := s.Reload(ctx, control.Wait)
			reloads++
			time.Sleep(time.Until(next))
			return err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	without, with := quiet.Quantile(99), busy.Quantile(99)
	r.note("p99 with reloads / without: %.2f; at the fewest, %d of %d nodes were ready, in %d looks at the status",
		float64(with)/float64(without), lowest, nodes, looks)
	r.expect(lowest >= nodes, "only %d of %d nodes were ready", lowest, nodes)
	r.expect(c.Untimed || with <= max(reloadP99, time.Duration(reloadRatio*float64(without))),
		"a p99 of %s ms, without reloads %s", ms(with), ms(without))
	return r, nil
}

// upTo calls f again and again until there were so many requests.
func (s *server) upTo(ctx context.Context, requests int64, f func() error) (load.Result, error) {
	loads := []load.Plan{{Connections: reloadClients, KeepAlive: true}}
	results, err := here().under(ctx, s.addr, loads, func(r *load.Runner) error {
		for r.SoFar().Requests < requests && ctx.Err() == nil {
			if err := f(); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	return results[0], err
}

// watchCapacity looks how many nodes are ready, until ctx is done. Where time is not judged, one that is slow to answer is.
func (s *server) watchCapacity(ctx context.Context, untimed bool, lowest, looks *int) error {
	for ; ctx.Err() == nil; time.Sleep(statusInterval) {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		ready := 0
		for _, n := range status.Nodes {
			if isReady(n) || untimed && n.Accepts && n.State == control.StateSuspect {
				ready++
			}
		}
		*lowest, *looks = min(*lowest, ready), *looks+1
	}
	return nil
}

// isReady tells whether a node serves.
func isReady(n control.NodeStatus) bool { return n.State == control.StateReady && n.Accepts }
