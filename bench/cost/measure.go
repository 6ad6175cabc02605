package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
)

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread returns the lower and the upper quartile.
func spread(values []float64) string { return spreadTo(3, values) }

// spreadTo is spread, with so many decimals as digits has.
func spreadTo(decimals int, values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return digits(decimals, sorted[n/4]) + " to " + digits(decimals, sorted[(3*n-1)/4])
}

// digits prints so many decimals, and more where fewer than three digits would be seen.
func digits(decimals int, v float64) string {
	if v != 0 {
		decimals = max(decimals, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// pair is a baseline and a cluster that are measured in turn.
type pair struct {
	baseline, cluster             *server
	baselineResult, clusterResult []result
}

func startPair(nodes int) (p *pair, err error) {
	p = new(pair)
	if p.baseline, err = startServer(plainRole, 0); err != nil {
		return nil, err
	}
	if p.cluster, err = startServer(clusterRole, nodes); err != nil {
		return nil, errors.Join(err, p.baseline.stop())
	}
	return p, nil
}

func (p *pair) stop() error { return errors.Join(p.baseline.stop(), p.cluster.stop()) }

// compare loads both, in turn and in changing order, after a round that does not count.
func (p *pair) compare(ctx context.Context, rounds int, apply func(*server) (result, error)) error {
	for round := range rounds + 1 {
		servers := []*server{p.baseline, p.cluster}
		if round%2 == 1 {
			slices.Reverse(servers)
		}
		for _, s := range servers {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r, err := apply(s)
			switch {
			case err != nil:
				return err
			case round == 0: // warm now
			case s == p.baseline:
				p.baselineResult = append(p.baselineResult, r)
			default:
				p.clusterResult = append(p.clusterResult, r)
			}
		}
	}
	return nil
}

// row prints a figure of both, and the ratio round by round.
func (p *pair) row(name, format string, figure func(result) float64) []string {
	var baseline, cluster, ratio []float64
	for i := range p.baselineResult {
		b, c := figure(p.baselineResult[i]), figure(p.clusterResult[i])
		baseline, cluster, ratio = append(baseline, b), append(cluster, c), append(ratio, c/b)
	}
	return []string{
		name, fmt.Sprintf(format, median(baseline)), fmt.Sprintf(format, median(cluster)),
		fmt.Sprintf("%.3f", median(ratio)), spread(ratio),
	}
}

func (p *pair) rows(baseline, cluster string) [][]string {
	return [][]string{
		{"", baseline, cluster, "ratio", "quartiles"},
		p.row("requests/s", "%.0f", result.perSecond),
		p.row("CPU us/request", "%.2f", result.cpuPerRequest),
		p.row("p50 us", "%.0f", func(r result) float64 { return float64(r.P50.Microseconds()) }),
		p.row("p99 us", "%.0f", func(r result) float64 { return float64(r.P99.Microseconds()) }),
	}
}

// measureOverhead asks what our code adds to a request.
func measureOverhead(ctx context.Context, c config, w io.Writer) error {
	return measurePair(ctx, c, w, 1, "cluster of 1", "keep-alive")
}

// measureTwoNodes asks what two processes are good for.
func measureTwoNodes(ctx context.Context, c config, w io.Writer) error {
	return measurePair(ctx, c, w, 2, "cluster of 2", "keep-alive", shortConnections)
}

// shortConnections is the pattern in which each request has a connection of its own.
const shortConnections = "short connections"

func measurePair(ctx context.Context, c config, w io.Writer, nodes int, name string, patterns ...string) error {
	for _, pattern := range patterns {
		p, err := startPair(nodes)
		if err != nil {
			return err
		}
		plan := load.Plan{Connections: c.connections, Duration: c.duration, KeepAlive: pattern != shortConnections}
		apply := func(s *server) (result, error) { return s.measure(ctx, plan) }
		if err := errors.Join(p.compare(ctx, c.rounds, apply), p.stop()); err != nil {
			return err
		}
		table(w, fmt.Sprintf("%s against one net/http process, %s", name, pattern), p.rows("net/http", name)...)
	}
	return nil
}

// measureRestart asks how long a killed worker is missed. Each worker is the first of its cluster to die, so that no
// back-off is measured.
func measureRestart(ctx context.Context, c config, w io.Writer) error {
	var times []float64
	for range 2 * c.rounds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		took, err := restartOnce()
		if err != nil {
			return err
		}
		times = append(times, float64(took.Microseconds())/1e3)
	}
	table(w, "SIGKILL of a worker until its replacement is ready, ms", []string{"median", "quartiles", "max"},
		[]string{fmt.Sprintf("%.1f", median(times)), spread(times), fmt.Sprintf("%.1f", slices.Max(times))})
	return nil
}

func restartOnce() (took time.Duration, err error) {
	s, err := startServer(clusterRole, 2)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	pids := s.processes()
	if len(pids) != 2 {
		return 0, fmt.Errorf("want a master and a worker, have %v", pids)
	}
	worker, err := os.FindProcess(pids[1])
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := worker.Kill(); err != nil {
		return 0, err
	}
	_, err = s.await("generation=2 ")
	if err == nil {
		_, err = s.await(`msg="worker ready"`)
	}
	return time.Since(begin), err
}

// measureStart asks how long four nodes take from the start of the program, and a plain server, until they are ready.
func measureStart(ctx context.Context, c config, w io.Writer) error {
	times := map[string][]float64{}
	for range 2 * c.rounds {
		for _, role := range []string{plainRole, clusterRole} {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			begin := time.Now()
			s, err := startServer(role, 4)
			if err != nil {
				return err
			}
			times[role] = append(times[role], float64(time.Since(begin).Microseconds())/1e3)
			if err := s.stop(); err != nil {
				return err
			}
		}
	}
	plain, cluster := times[plainRole], times[clusterRole]
	table(w, "start of the program until it is ready, ms", []string{"", "median", "quartiles", "max"},
		[]string{"net/http", fmt.Sprintf("%.1f", median(plain)), spread(plain), fmt.Sprintf("%.1f", slices.Max(plain))},
		[]string{"cluster of 4", fmt.Sprintf("%.1f", median(cluster)), spread(cluster), fmt.Sprintf("%.1f", slices.Max(cluster))})
	return nil
}

// measureMemory asks what an idle worker takes beyond an idle plain server.
func measureMemory(ctx context.Context, c config, w io.Writer) error {
	var plain, worker, more []float64
	for range c.rounds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p, err := startPair(2)
		if err != nil {
			return err
		}
		b, m := p.residents()
		if err := p.stop(); err != nil {
			return err
		}
		plain, worker, more = append(plain, b), append(worker, m), append(more, m-b)
	}
	table(w, "resident memory of an idle process, MiB", []string{"net/http", "worker", "difference"},
		[]string{fmt.Sprintf("%.1f", median(plain)), fmt.Sprintf("%.1f", median(worker)), fmt.Sprintf("%.1f", median(more))})
	return nil
}

// residents returns the resident memory of the plain server and of a worker, in MiB.
func (p *pair) residents() (plain, worker float64) {
	pids := p.cluster.processes()
	plain, _ = proc.Memory(p.baseline.PID())
	worker, _ = proc.Memory(pids[len(pids)-1])
	return plain, worker
}
