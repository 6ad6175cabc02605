//go:build linux

package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

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
	quiet, err := c.upTo(ctx, s, func() error { time.Sleep(reloadInterval); return nil })
	if err != nil {
		return nil, err
	}
	r.row(quiet.cells("none", 0)...)

	capacity := s.watchCapacity(c.Untimed)
	reloads := 0
	busy, err := c.upTo(ctx, s, func() error {
		next := time.Now().Add(reloadInterval)
		if err := s.Reload(ctx, control.Wait); err != nil {
			return err
		}
		reloads++
		time.Sleep(time.Until(next))
		return nil
	})
	lowest, looks, capacityErr := capacity.end()
	if err := errors.Join(err, capacityErr); err != nil {
		return nil, err
	}
	r.row(busy.cells("reloads", reloads)...)
	ratio := float64(busy.P99) / float64(quiet.P99)
	r.note("p99 with reloads / without: %.2f; at the fewest, %d of %d nodes were ready, in %d looks at the status", ratio,
		lowest, nodes, looks)
	for _, t := range []tally{quiet, busy} {
		r.expect(t.failures() == 0, "%d of %d requests failed: %s", t.failures(), t.Requests, t.describe())
	}
	r.expect(lowest >= nodes, "only %d of %d nodes were ready", lowest, nodes)
	r.expect(c.Untimed || busy.P99 <= max(reloadP99, time.Duration(reloadRatio*float64(quiet.P99))),
		"a p99 of %s ms, without reloads %s", ms(busy.P99), ms(quiet.P99))
	return r, nil
}

func (t tally) cells(name string, reloads int) []string {
	return []string{
		name, fmt.Sprint(reloads), fmt.Sprint(t.Requests), fmt.Sprintf("%.0f", float64(t.Requests)/t.Elapsed.Seconds()),
		fmt.Sprint(t.Connections), fmt.Sprint(t.failures()), t.kinds(), ms(t.P50), ms(t.P99), ms(t.Max),
	}
}

// upTo calls f again and again until there were so many requests.
func (c config) upTo(ctx context.Context, s *server, f func() error) (tally, error) {
	r, err := here().load(load{Clients: reloadClients, KeepAlive: true}, s.addr)
	if err != nil {
		return tally{}, err
	}
	for enough := false; !enough && ctx.Err() == nil; {
		if err := f(); err != nil {
			return tally{}, errors.Join(err, r.Stop(os.Kill))
		}
		select {
		case said := <-r.told:
			enough = said.Requests >= c.Requests
		default:
		}
	}
	t, err := r.finish()
	return t, errors.Join(err, ctx.Err())
}

// capacity looks how many nodes are ready.
type capacity struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	// Readable after running.
	lowest, looks int
	err           error
}

// watchCapacity takes a node that is slow to answer for ready, where time is not judged.
func (s *server) watchCapacity(untimed bool) *capacity {
	ctx, cancel := context.WithCancel(context.Background())
	w := &capacity{cancel: cancel, lowest: nodes}
	w.running.Go(func() { // ended by end
		for ctx.Err() == nil {
			status, err := s.Status(ctx)
			if err != nil {
				if ctx.Err() == nil {
					w.err = err
				}
				return
			}
			ready := 0
			for _, n := range status.Nodes {
				if n.Accepts && (n.State == control.StateReady || untimed && n.State == control.StateSuspect) {
					ready++
				}
			}
			w.lowest, w.looks = min(w.lowest, ready), w.looks+1
			time.Sleep(statusInterval)
		}
	})
	return w
}

func (w *capacity) end() (lowest, looks int, err error) {
	w.cancel()
	w.running.Wait()
	return w.lowest, w.looks, w.err
}
