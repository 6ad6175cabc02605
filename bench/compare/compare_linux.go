// Package compare measures ways to share a port (package ways) under patterns of load (package load), and makes a report of
// it (package report).
//
// What makes the figures comparable:
//
//   - All servers run all the time, and only one is loaded. So none of them is cold, and an idle process costs nothing.
//   - In a round, all ways are measured under a pattern one right after the other, in an order that is drawn anew from the
//     seed. A ratio is taken within the round: what else the machine does disturbs both.
//   - Each pattern has one plan for all ways. Its rate is a share of what the baseline could do on this machine just before.
//   - The load is another process. Where there are at least four CPUs, it has a half of them for itself.
package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/bench/report"
	"github.com/multinode-go/multinode/bench/ways"
)

// config is what the flags say.
type config struct {
	rounds   int
	duration time.Duration // of each measurement
	workers  int
	seed     uint64
	ways     []ways.Way
	patterns []pattern
}

// comparison is one that runs.
type comparison struct {
	config
	document *report.Document
	progress *report.Progress
	random   *rand.Rand
	servers  map[string]*ways.Server // by the name of the way
	limits   limits
	loadCPUs []int // nil: those of the servers
}

const (
	warmup      = 100 * time.Millisecond
	calibration = time.Second
	overhead    = 150 * time.Millisecond // of a measurement: to start and end the load
)

// took is how long one measurement under a pattern takes.
func (c config) took(p pattern) time.Duration {
	if p.event != nil {
		return max(c.duration, eventDuration)
	}
	return c.duration
}

// expected is how long all of it takes.
func (c config) expected() (sum time.Duration) {
	for _, p := range c.patterns {
		sum += time.Duration(c.rounds*len(c.ways)) * (c.took(p) + warmup + overhead)
	}
	return sum + 2*calibration
}

// run measures everything. What was measured until an error is in the document.
func (c config) run(ctx context.Context, d *report.Document, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	run := &comparison{
		config: c, document: d, random: rand.New(rand.NewPCG(c.seed, 0)), servers: make(map[string]*ways.Server),
		progress: report.NewProgress(progress, c.expected()),
	}
	defer run.progress.Close()
	if err := run.splitCPUs(); err != nil {
		return err
	}
	d.Begun, d.Seed, d.Machine = time.Now(), c.seed, machine()
	defer func() {
		d.Elapsed = time.Since(d.Begun)
		err = errors.Join(err, run.stop())
	}()
	if err := run.start(ctx, dir); err != nil {
		return err
	}
	if err := run.calibrate(ctx); err != nil {
		return err
	}
	for _, p := range c.patterns {
		if err := run.measureAll(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// splitCPUs gives the load CPUs of its own where there are enough, and leaves the others to all processes that are started
// from here.
func (r *comparison) splitCPUs() error {
	cpus := runtime.NumCPU()
	r.limits.cpus = float64(cpus)
	if cpus < 4 {
		r.document.Notes = append(r.document.Notes, fmt.Sprintf("The load runs on the %d CPUs of the servers: there are not "+
			"enough to give it its own. So a figure is what server and load can do together.", cpus))
		return nil
	}
	all := make([]int, cpus)
	for i := range all {
		all[i] = i
	}
	own := all[:cpus/2]
	r.loadCPUs, r.limits.cpus = all[len(own):], float64(len(own))
	return proc.Bind(own)
}

// start starts a server for each way. One that cannot run here is noted as missing.
func (r *comparison) start(ctx context.Context, dir string) error {
	for _, w := range r.ways {
		r.progress.Begin("start "+w.Name, 0)
		shown := report.Way{
			Name: w.Name, Title: w.Name, About: w.Title, Server: server(w), Baseline: w.Name == baseline, Ours: w.Name == subject,
		}
		s, err := w.Start(ctx, ways.Config{Workers: r.workers, Dir: dir})
		switch {
		case err == nil:
			r.servers[w.Name], shown.Version = s, s.Version()
		case w.Name == baseline || ctx.Err() != nil:
			return err
		default:
			shown.Missing = err.Error()
		}
		r.document.Ways = append(r.document.Ways, shown)
	}
	return nil
}

// baseline is the way that all are compared with, and subject the one that the findings are about.
const (
	baseline = "go"
	subject  = "multinode"
)

// server names what answers the requests.
func server(w ways.Way) string {
	if w.Other {
		name, _, _ := strings.Cut(w.Name, "-")
		return name
	}
	return "net/http"
}

func (r *comparison) stop() (err error) {
	for _, s := range r.servers {
		err = errors.Join(err, s.Stop())
	}
	return err
}

// calibrate finds out what the baseline can do, for the rates.
func (r *comparison) calibrate(ctx context.Context) error {
	for _, one := range []struct {
		rate      *float64
		keepAlive bool
	}{{&r.limits.keepAlive, true}, {&r.limits.short, false}} {
		r.progress.Begin("see what the baseline can do", calibration)
		result, err := r.apply(ctx, r.servers[baseline], load.Plan{
			Connections: connections, KeepAlive: one.keepAlive, Warmup: calibration / 2, Duration: calibration / 2,
		})
		if err != nil {
			return err
		}
		*one.rate = result.Rate
	}
	return nil
}

func (r *comparison) apply(ctx context.Context, s *ways.Server, p load.Plan) (load.Result, error) {
	p.Addrs, p.CPUs = []string{s.Addr()}, r.loadCPUs
	runner, err := load.Start(ctx, p)
	if err != nil {
		return load.Result{}, err
	}
	return runner.Wait()
}

// measureAll measures all ways under one pattern, round by round.
func (r *comparison) measureAll(ctx context.Context, p pattern) error {
	p.Workers = r.workers
	r.document.Patterns = append(r.document.Patterns, p.Pattern)
	cells := make([]report.Cell, len(r.ways))
	for i, w := range r.ways {
		cells[i] = report.Cell{Pattern: p.Name, Way: w.Name}
	}
	defer func() {
		empty := func(c report.Cell) bool { return len(c.Samples) == 0 && c.Problem == "" }
		r.document.Cells = append(r.document.Cells, slices.DeleteFunc(cells, empty)...)
	}()
	for round := range r.rounds {
		for _, i := range r.random.Perm(len(r.ways)) {
			if err := r.measureWay(ctx, p, r.ways[i], round, &cells[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureWay adds a sample to the cell of a way, or says there why there is none. It returns an error only if ctx is done.
func (r *comparison) measureWay(ctx context.Context, p pattern, w ways.Way, round int, cell *report.Cell) error {
	s := r.servers[w.Name]
	if s == nil {
		return nil
	}
	if p.burns && !w.Burns {
		cell.Problem = "its handler cannot burn CPU"
		return nil
	}
	r.progress.Begin(fmt.Sprintf("%s: %s, round %d of %d", p.Name, w.Name, round+1, r.rounds), r.took(p)+warmup+overhead)
	sample, err := r.measure(ctx, p, s, round)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		cell.Problem = err.Error()
	default:
		cell.Samples = append(cell.Samples, sample)
	}
	return nil
}
