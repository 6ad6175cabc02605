package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

const (
	// nodes is how many accept connections.
	nodes = 4
	// enoughRestarts is how many times more restarts than were asked for it may take until one without us has lost something: a
	// run that loses nothing cannot tell a loss.
	enoughRestarts = 50
)

// proveDrains drains one worker after the other, and restarts processes of the baseline in the same way, both under new
// connections over IPv4 and IPv6.
func proveDrains(ctx context.Context, c config) (*report, error) {
	r := &report{Title: fmt.Sprintf("Drains of one of %d nodes after the other, a new connection for each request, IPv4 and IPv6", nodes)}
	r.row(trialHead()...)
	base, err := c.compare(ctx, r, here(), enoughRestarts*c.Restarts, "plain close (net/http Shutdown)")
	if err != nil {
		return nil, err
	}
	r.expect(base.result.Failures() > 0, "the baseline lost nothing: this run cannot tell a loss")
	return r, nil
}

// compare has the baseline restarted, up to most times, and a cluster drained. The cells come before those of both.
func (c config) compare(ctx context.Context, r *report, at site, most int, baseline string, cells ...any) (base trial, err error) {
	if err := checkMigration(); err != nil {
		return base, err
	}
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

// trial is restarts under load.
type trial struct {
	result   load.Result
	restarts int
	times    times    // of a restart
	trouble  []string // that drains had
}

func trialHead() []any {
	return slices.Concat([]any{"", "restarts"}, outcome, []any{"a restart: p50 ms", "p99", "max"})
}

func (t trial) row(name string) []any {
	return slices.Concat([]any{name, t.restarts}, outcomeOf(t.result),
		[]any{t.times.quantile(50), t.times.quantile(99), t.times.quantile(100)})
}

// restartPrefork restarts processes that are made without us: the replacement is there first, then the old one is told to
// shut down. It goes on until something was lost, up to most restarts.
func (c config) restartPrefork(ctx context.Context, at site, most int) (t trial, err error) {
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
		for ; (t.restarts < c.Restarts || t.restarts < most && r.SoFar().Failed == 0) && ctx.Err() == nil; t.restarts++ {
			if err := begin(); err != nil {
				return err
			}
			told := time.Now()
			if err := all[0].Stop(nil); err != nil {
				return err
			}
			t.times, all = append(t.times, time.Since(told)), all[1:]
		}
		return ctx.Err()
	})
	t.result = results[0]
	return t, err
}

// drainCluster drains a worker of a cluster after the other.
func (c config) drainCluster(ctx context.Context, at site) (t trial, err error) {
	var s *server
	err = at.server(func() (err error) {
		s, err = startServer(serve{Addr: ":0", Nodes: nodes, MasterListens: true})
		return err
	})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	watch := func(ctx context.Context) error { return s.follow(ctx, t.add) }
	err = beside(ctx, watch, func() error {
		results, err := at.under(ctx, s.addr, []load.Plan{{Connections: c.Clients}}, func(r *load.Runner) error {
			for ; (t.restarts < c.Drains || r.SoFar().Connections < c.Connections) && ctx.Err() == nil; t.restarts++ {
				if err := s.drainNext(ctx, t.restarts); err != nil {
					return err
				}
				if t.restarts%1000 == 999 {
					so := r.SoFar()
					fmt.Fprintf(os.Stderr, "%d drains, %d connections, %d failed\n", t.restarts+1, so.Connections, so.Failed)
				}
			}
			return ctx.Err()
		})
		t.result = results[0]
		return err
	})
	return t, err
}

// drainNext drains a worker, another one each time.
func (s *server) drainNext(ctx context.Context, turn int) error {
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
	return s.Drain(ctx, workers[turn%len(workers)].ID, control.Wait)
}

// follow calls f for each event until ctx is done or the master is gone.
func (s *server) follow(ctx context.Context, f func(control.Event)) error {
	stream, err := s.Events(ctx, 0)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		e, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f(e)
	}
}

// add takes an event of the cluster.
func (t *trial) add(e control.Event) {
	switch e.Kind {
	case control.EventDrained:
		t.times = append(t.times, e.Took)
		if e.Text != "" {
			t.trouble = append(t.trouble, fmt.Sprintf("node %d: %s", e.ID, e.Text))
		}
	case control.EventDied, control.EventHung, control.EventStranger, control.EventFailed:
		t.trouble = append(t.trouble, fmt.Sprintf("node %d: %s: %s", e.ID, e.Kind, e.Text))
	default:
	}
}
