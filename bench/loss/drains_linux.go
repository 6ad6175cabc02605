package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

// enoughRestarts is how many times more restarts than were asked for it may take until one without us has lost something: a
// run that loses nothing cannot tell a loss.
const enoughRestarts = 50

// proveDrains drains one worker after the other, and restarts processes of the baseline in the same way, both under new
// connections over IPv4 and IPv6.
func proveDrains(ctx context.Context, c config, r *report) error {
	r.about("Drains of one of %d nodes after the other, a new connection for each request, IPv4 and IPv6", nodes)
	r.head("restart")
	base, err := c.compare(ctx, r, here(), enoughRestarts*c.Restarts, "plain close (net/http Shutdown)")
	r.expect(err != nil || base.Failures() > 0, "the baseline lost nothing: this run cannot tell a loss")
	return err
}

// proveDelayed drains over wires that delay and lose packets: handshakes that are under way at a drain take as long.
func proveDelayed(ctx context.Context, c config, r *report) (err error) {
	w, err := newWire()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	c.Drains, c.Restarts, c.Connections, c.Clients = c.Delayed, c.Delayed, 1, 4*c.Clients
	r.about("Drains over a wire with a delay of its own for each connection, and with losses, as root")
	r.head("restart", "delay each way", "lost")
	for _, wire := range []struct {
		delay time.Duration
		lost  float64 // of 1
	}{{0, 0}, {5 * time.Millisecond, 0}, {50 * time.Millisecond, 0}, {50 * time.Millisecond, 0.001}, {50 * time.Millisecond, 0.01}} {
		w.delay.Store(int64(wire.delay))
		w.lost.Store(uint64(wire.lost * (1 << 32)))
		_, err := c.compare(ctx, r, w.site(), c.Restarts, "plain close", fmt.Sprintf("to %v", wire.delay), fmt.Sprintf("%.1f %%", 100*wire.lost))
		if err != nil {
			return err
		}
	}
	r.note("%d packets, %d of them dropped", w.packets.Load(), w.dropped.Load())
	return nil
}

// compare has the baseline restarted, up to most times, and a cluster drained. It returns what came of the baseline.
func (c config) compare(ctx context.Context, r *report, at site, most int, baseline string, cells ...any) (base load.Result, err error) {
	t, err := c.restartPrefork(ctx, at, most)
	if err != nil {
		return base, err
	}
	base = t.results[0]
	r.trial(baseline, t, base, cells...)
	var trouble []string
	loads := []load.Plan{{Connections: c.Clients}}
	t, err = at.try(ctx, serve{MasterListens: true}, loads, func(s *server, t *trial) (err error) {
		trouble, err = c.drain(ctx, s, t)
		return err
	})
	if err != nil {
		return base, err
	}
	r.trial("cluster", t, t.results[0], cells...)
	r.expectAll("cluster", t.results[0])
	r.expect(len(trouble) == 0, "%d restarts were not clean, as: %.1000s", len(trouble), strings.Join(trouble, "; "))
	return base, nil
}

// restartPrefork restarts processes that are made without us: the replacement is there first, then the old one is told to
// shut down. It goes on until something was lost, up to most restarts.
func (c config) restartPrefork(ctx context.Context, at site, most int) (t *trial, err error) {
	var all []*child.Process
	defer func() {
		for _, p := range all {
			err = errors.Join(err, p.Stop(nil))
		}
	}()
	addr := ":0"
	begin := func() error {
		var p *child.Process
		err := at.server(func() (err error) { p, err = child.Run(preforkRole, serve{Addr: addr}); return err })
		if err != nil {
			return err
		}
		all = append(all, p)
		addr, err = p.Line(0, saidReady)
		return err
	}
	for range nodes {
		if err := begin(); err != nil {
			return nil, err
		}
	}
	return at.under(ctx, addr, []load.Plan{{Connections: c.Clients}}, func(t *trial) error {
		for n := 0; n < c.Restarts || n < most && t.load.SoFar().Failed == 0; n++ {
			if err := errors.Join(ctx.Err(), begin()); err != nil {
				return err
			}
			if err := t.fault(func() error { return all[0].Stop(nil) }); err != nil {
				return err
			}
			all = all[1:]
		}
		return nil
	})
}

// drain drains a worker of a cluster after the other, and returns what was not as it should be.
func (c config) drain(ctx context.Context, s *server, t *trial) (trouble []string, err error) {
	events, err := s.Events(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer events.Close()
	for n := 0; n < c.Drains || t.load.SoFar().Connections < c.Connections; n++ {
		id, err := s.drainNext(ctx, n)
		for gone := false; err == nil && !gone; {
			var e control.Event
			e, err = events.Next()
			switch e.Kind {
			case control.EventDrained:
				t.faults.Record(e.Took, 1)
				if e.Text != "" {
					trouble = append(trouble, fmt.Sprintf("node %d: %s", e.ID, e.Text))
				}
			case control.EventDied, control.EventHung, control.EventStranger, control.EventFailed:
				trouble = append(trouble, fmt.Sprintf("node %d: %s: %s", e.ID, e.Kind, e.Text))
			default:
			}
			// One that is gone may not have said that it was drained.
			over := []control.EventKind{control.EventDrained, control.EventLeft, control.EventDied}
			gone = e.ID == id && slices.Contains(over, e.Kind)
		}
		if err != nil {
			return nil, err
		}
		if n%1000 == 999 {
			so := t.load.SoFar()
			fmt.Fprintf(os.Stderr, "%d drains, %d connections, %d failed\n", n+1, so.Connections, so.Failed)
		}
	}
	return trouble, nil
}

// drainNext drains a worker, another one each time.
func (s *server) drainNext(ctx context.Context, turn int) (id int, err error) {
	status, err := s.Status(ctx)
	workers := slices.DeleteFunc(status.Nodes, func(n control.NodeStatus) bool {
		return n.Master || n.State != control.StateReady && n.State != control.StateSuspect
	})
	if err == nil && len(workers) == 0 {
		err = errors.New("no worker is ready")
	}
	if err != nil {
		return 0, err
	}
	id = workers[turn%len(workers)].ID
	return id, s.Drain(ctx, id, control.Wait)
}
