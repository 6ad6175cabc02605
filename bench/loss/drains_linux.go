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
	r.row(restartsHead()...)
	base, err := c.compare(ctx, r, here(), enoughRestarts*c.Restarts, "plain close (net/http Shutdown)")
	r.expect(err != nil || base.result.Failures() > 0, "the baseline lost nothing: this run cannot tell a loss")
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
	r.row(append([]any{"delay each way", "lost"}, restartsHead()...)...)
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

// compare has the baseline restarted, up to most times, and a cluster drained. The cells come before those of both.
func (c config) compare(ctx context.Context, r *report, at site, most int, baseline string, cells ...any) (base restarts, err error) {
	if base, err = c.restartPrefork(ctx, at, most); err != nil {
		return base, err
	}
	r.row(slices.Concat(cells, base.row(baseline))...)
	ours, err := c.drainCluster(ctx, at)
	if err != nil {
		return base, err
	}
	r.row(slices.Concat(cells, ours.row("cluster"))...)
	r.expectAll("cluster", ours.result)
	r.expect(len(ours.trouble) == 0, "%d restarts were not clean, as: %.1000s", len(ours.trouble), strings.Join(ours.trouble, "; "))
	return base, nil
}

// restarts are those under a load.
type restarts struct {
	result  load.Result
	count   int
	times   load.Histogram // of each
	trouble []string       // that drains had
}

func restartsHead() []any {
	return slices.Concat([]any{"", "restarts"}, outcome, []any{"a restart: p50 ms", "p99", "max"})
}

func (t restarts) row(name string) []any {
	return slices.Concat([]any{name, t.count}, outcomeOf(t.result),
		[]any{t.times.Quantile(50), t.times.Quantile(99), t.times.Quantile(100)})
}

// restartPrefork restarts processes that are made without us: the replacement is there first, then the old one is told to
// shut down. It goes on until something was lost, up to most restarts.
func (c config) restartPrefork(ctx context.Context, at site, most int) (t restarts, err error) {
	t.times = load.NewHistogram()
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
			return t, err
		}
	}
	results, err := at.under(ctx, addr, []load.Plan{{Connections: c.Clients}}, func(r *load.Runner) error {
		for ; t.count < c.Restarts || t.count < most && r.SoFar().Failed == 0; t.count++ {
			if err := errors.Join(ctx.Err(), begin()); err != nil {
				return err
			}
			told := time.Now()
			if err := all[0].Stop(nil); err != nil {
				return err
			}
			t.times.Record(time.Since(told), 1)
			all = all[1:]
		}
		return nil
	})
	if err == nil {
		t.result = results[0]
	}
	return t, err
}

// drainCluster drains a worker of a cluster after the other.
func (c config) drainCluster(ctx context.Context, at site) (t restarts, err error) {
	t.times = load.NewHistogram()
	results, err := at.trial(ctx, serve{MasterListens: true}, []load.Plan{{Connections: c.Clients}}, func(s *server, r *load.Runner) error {
		events, err := s.Events(ctx, 0)
		if err != nil {
			return err
		}
		defer events.Close()
		for ; t.count < c.Drains || r.SoFar().Connections < c.Connections; t.count++ {
			if err := t.drainNext(ctx, s, events); err != nil {
				return err
			}
			if t.count%1000 == 999 {
				so := r.SoFar()
				fmt.Fprintf(os.Stderr, "%d drains, %d connections, %d failed\n", t.count+1, so.Connections, so.Failed)
			}
		}
		return nil
	})
	if err == nil {
		t.result = results[0]
	}
	return t, err
}

// drainNext drains a worker, another one each time, and takes what the cluster tells of it.
func (t *restarts) drainNext(ctx context.Context, s *server, events *control.EventStream) error {
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	workers := slices.DeleteFunc(status.Nodes, func(n control.NodeStatus) bool {
		return n.Master || n.State != control.StateReady && n.State != control.StateSuspect
	})
	if len(workers) == 0 {
		return errors.New("no worker is ready")
	}
	id := workers[t.count%len(workers)].ID
	if err := s.Drain(ctx, id, control.Wait); err != nil {
		return err
	}
	for {
		e, err := events.Next()
		if err != nil {
			return fmt.Errorf("the events: %w", err)
		}
		switch e.Kind {
		case control.EventDrained:
			t.times.Record(e.Took, 1)
			if e.Text != "" {
				t.trouble = append(t.trouble, fmt.Sprintf("node %d: %s", e.ID, e.Text))
			}
		case control.EventDied, control.EventHung, control.EventStranger, control.EventFailed:
			t.trouble = append(t.trouble, fmt.Sprintf("node %d: %s: %s", e.ID, e.Kind, e.Text))
		default:
		}
		if e.ID == id && (e.Kind == control.EventDrained || e.Kind == control.EventDied) {
			return nil
		}
	}
}
