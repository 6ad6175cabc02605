//go:build linux

package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/cluster/control"
)

// nodes is how many accept connections.
const nodes = 4

// proveDrains drains one worker after the other, and restarts processes of the baseline in the same way, both under new
// connections over IPv4 and IPv6.
func proveDrains(ctx context.Context, c config) (*report, error) {
	if err := checkMigration(); err != nil {
		return nil, err
	}
	r := &report{Title: fmt.Sprintf("Drains of one of %d nodes after the other, a new connection for each request, IPv4 and IPv6", nodes)}
	r.row(trialHead()...)
	base, err := c.restartPrefork(ctx, here(), enoughRestarts*c.Restarts)
	if err != nil {
		return nil, err
	}
	r.row(base.row("plain close (net/http Shutdown)")...)
	ours, err := c.drainCluster(ctx, here(), serve{Addr: ":0", Nodes: nodes, MasterListens: true})
	if err != nil {
		return nil, err
	}
	r.row(ours.row("cluster")...)
	r.judge(ours)
	r.expect(base.tally.failures() > 0, "the baseline lost nothing: this run cannot tell a loss")
	return r, nil
}

// judge notes what should not have been.
func (r *report) judge(t trial) {
	r.expect(t.tally.failures() == 0, "%d of %d requests failed: %s", t.tally.failures(), t.tally.Requests, t.tally.describe())
	r.expect(len(t.trouble) == 0, "%d restarts were not clean, as: %.1000s", len(t.trouble), strings.Join(t.trouble, "; "))
}

// trial is restarts under load.
type trial struct {
	tally    tally
	restarts int
	times    *hdrhistogram.Histogram // of a drain; nil if it has none
	trouble  []string                // that drains had
}

func trialHead() []string {
	return []string{
		"", "restarts", "connections", "failed", "of them", "late", "p99 ms", "max ms", "a restart: p50 ms", "p99", "max",
	}
}

func (t trial) row(name string) []string {
	cells := []string{
		name, fmt.Sprint(t.restarts), fmt.Sprint(t.tally.Connections), fmt.Sprint(t.tally.failures()), t.tally.kinds(),
		fmt.Sprint(t.tally.Late), ms(t.tally.P99), ms(t.tally.Max),
	}
	if t.times == nil {
		return append(cells, "", "", "")
	}
	at := func(q float64) string { return ms(time.Duration(t.times.ValueAtQuantile(q))) }
	return append(cells, at(50), at(99), ms(time.Duration(t.times.Max())))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1e3) }

// kinds lists failures by kind.
func (t tally) kinds() string {
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(t.Failures)) {
		words = append(words, fmt.Sprintf("%s %d", kind, t.Failures[kind]))
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

// describe tells some failures.
func (t tally) describe() string {
	var words []string
	for _, f := range t.Failed[:min(len(t.Failed), 5)] {
		words = append(words, fmt.Sprintf("%s after %v at %v: %s", f.Kind, (f.End-f.Start).Round(time.Microsecond), f.End, f.Error))
	}
	return t.kinds() + "; " + strings.Join(words, "; ")
}

// enoughRestarts is how many times more restarts than were asked for it may take until one without us has lost something: a
// run that loses nothing cannot tell a loss.
const enoughRestarts = 50

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
		said, err := p.Line(0, "ready ")
		addr = said
		return err
	}
	for range nodes {
		if err := begin(); err != nil {
			return t, err
		}
	}
	r, err := at.load(load{Clients: c.Clients}, addr)
	if err != nil {
		return t, err
	}
	t.times = newHistogram()
	lost := func() bool {
		select {
		case said := <-r.told:
			return said.failures() > 0
		default:
			return false
		}
	}
	for ; (t.restarts < c.Restarts || t.restarts < most && !lost()) && ctx.Err() == nil; t.restarts++ {
		if err := begin(); err != nil {
			return t, err
		}
		told := time.Now()
		if err := all[0].Stop(nil); err != nil {
			return t, err
		}
		_ = t.times.RecordValue(time.Since(told).Nanoseconds()) // it would have been killed before
		all = all[1:]
	}
	t.tally, err = r.finish()
	return t, errors.Join(err, ctx.Err())
}

// drainCluster drains a worker of a cluster after the other.
func (c config) drainCluster(ctx context.Context, at site, s serve) (t trial, err error) {
	var cluster *server
	if err := at.server(func() (err error) { cluster, err = startServer(s); return err }); err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, cluster.end()) }()
	w := cluster.watch()
	defer func() { err = errors.Join(err, w.close()) }()
	r, err := at.load(load{Clients: c.Clients}, cluster.addr)
	if err != nil {
		return t, err
	}
	var so, failed int64
	for ; (t.restarts < c.Drains || so < c.Connections) && ctx.Err() == nil; t.restarts++ {
		if err := cluster.drainNext(ctx, t.restarts); err != nil {
			return t, errors.Join(err, r.Stop(os.Kill))
		}
		select {
		case said := <-r.told:
			so, failed = said.Connections, said.failures()
		default:
		}
		if t.restarts%1000 == 999 {
			fmt.Fprintf(os.Stderr, "%d drains, %d connections, %d failed\n", t.restarts+1, so, failed)
		}
	}
	t.tally, err = r.finish()
	t.times, t.trouble = w.drains()
	return t, errors.Join(err, ctx.Err())
}

// drainNext drains a worker, another one each time.
func (c *server) drainNext(ctx context.Context, turn int) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	workers := slices.DeleteFunc(s.Nodes, func(n control.NodeStatus) bool {
		return n.Master || n.State != control.StateReady && n.State != control.StateSuspect
	})
	if len(workers) == 0 {
		return errors.New("no worker is ready")
	}
	return c.Drain(ctx, workers[turn%len(workers)].ID, control.Wait)
}

// watcher reads the events of a cluster.
type watcher struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // readable after done

	mu      sync.Mutex // guards what follows
	times   *hdrhistogram.Histogram
	trouble []string
}

func (c *server) watch() *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{cancel: cancel, done: make(chan struct{}), times: newHistogram()}
	go func() { // ended by close
		defer close(w.done)
		if err := c.follow(ctx, w.add); ctx.Err() == nil {
			w.err = err
		}
	}()
	return w
}

// follow calls f for each event until ctx is done or the master is gone.
func (c *server) follow(ctx context.Context, f func(control.Event)) error {
	stream, err := c.Events(ctx, 0)
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

func (w *watcher) add(e control.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Kind {
	case control.EventDrained:
		_ = w.times.RecordValue(max(1e3, e.Took.Nanoseconds())) // no drain takes longer than it holds
		if e.Text != "" {
			w.trouble = append(w.trouble, fmt.Sprintf("node %d: %s", e.ID, e.Text))
		}
	case control.EventDied, control.EventHung, control.EventStranger, control.EventFailed:
		w.trouble = append(w.trouble, fmt.Sprintf("node %d: %s: %s", e.ID, e.Kind, e.Text))
	default:
	}
}

func (w *watcher) drains() (*hdrhistogram.Histogram, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return hdrhistogram.Import(w.times.Export()), slices.Clone(w.trouble)
}

func (w *watcher) close() error {
	w.cancel()
	<-w.done
	return w.err
}
