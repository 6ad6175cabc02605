package compare

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/bench/report"
	"github.com/multinode-go/multinode/bench/ways"
	"github.com/multinode-go/multinode/reuseport"
)

// measure measures one way under one pattern, once.
func (r *comparison) measure(ctx context.Context, p pattern, s *ways.Server, round int) (report.Sample, error) {
	plan := p.plan(r.limits)
	plan.Addrs, plan.CPUs, plan.Warmup, plan.Duration = []string{s.Addr()}, r.loadCPUs, warmup, r.took(p)
	plan.Seed = r.seed + uint64(round) // the same for all ways
	runner, err := load.Start(ctx, plan)
	if err != nil {
		return report.Sample{}, err
	}
	<-runner.Begun()
	watched := watchQueue(s.Addr())
	pids := s.PIDs()
	before := usageOf(pids)
	extra, eventErr := happen(ctx, p, s, plan.Duration)
	result, err := runner.Wait()
	queue := watched()
	if err := errors.Join(eventErr, err); err != nil {
		return report.Sample{}, err
	}
	sample := report.Sample{Round: round, Failures: result.Failed, Queue: queue, Latency: quantiles(result)}
	sample.Figures = figures(result)
	maps.Copy(sample.Figures, extra)
	maps.Copy(sample.Figures, queueFigures(queue))
	sample.Figures[report.RSS], sample.Figures[report.PSS] = proc.Memory(s.PIDs()...)
	if p.event == nil {
		addUsage(sample.Figures, usageOf(pids).since(before), float64(result.Requests))
		addFairness(sample.Figures, s.Workers(), result)
	}
	return sample, nil
}

// happen lets the event of a pattern happen in the middle.
func happen(ctx context.Context, p pattern, s *ways.Server, duration time.Duration) (report.Figures, error) {
	if p.event == nil {
		return nil, nil
	}
	select {
	case <-time.After(duration / 3):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return p.event(ctx, s)
}

func figures(r load.Result) report.Figures {
	seconds := r.Elapsed.Seconds()
	return report.Figures{
		report.RequestsPerSecond: r.Rate, report.ConnectionsPerSecond: float64(r.Connections) / seconds,
		report.P50: milliseconds(r.Quantile(50)), report.P90: milliseconds(r.Quantile(90)),
		report.P99: milliseconds(r.Quantile(99)), report.P999: milliseconds(r.Quantile(99.9)),
		report.Max: milliseconds(r.Quantile(100)), report.Failures: float64(r.Failures()),
	}
}

// percentiles are those of which a curve is drawn.
var percentiles = []float64{0, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99, 100}

func quantiles(r load.Result) (all []report.Quantile) {
	if r.Requests == 0 {
		return nil
	}
	for _, p := range percentiles {
		all = append(all, report.Quantile{Share: p / 100, Milliseconds: milliseconds(r.Quantile(p))})
	}
	return all
}

// addUsage adds the CPU time for each request.
func addUsage(f report.Figures, used usage, requests float64) {
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / requests }
	f[report.CPU], f[report.CPUUser], f[report.CPUSystem] = each(used.total), each(used.user), each(used.system)
}

func addFairness(f report.Figures, workers []int, r load.Result) {
	if len(workers) < 2 {
		return // there is nobody to be fair to
	}
	f[report.RequestsMaxMean], f[report.RequestsJain], f[report.RequestsDeviation] = fairnessOf(workers, r.ByWorker)
	f[report.ConnectionsMaxMean], f[report.ConnectionsJain], f[report.ConnectionsDeviation] = fairnessOf(workers, r.ConnsByWorker)
}

// fairnessOf returns how even the counts of the workers are.
func fairnessOf(workers []int, counts map[string]int64) (maxMean, jain, deviation float64) {
	shares := make([]float64, len(workers))
	for i, pid := range workers {
		shares[i] = float64(counts[strconv.Itoa(pid)])
	}
	return report.MaxMean(shares), report.Jain(shares), report.Deviation(shares)
}

// queueInterval is the time between two looks at the accept queues.
const queueInterval = 10 * time.Millisecond

// watchQueue looks at the accept queues of all listeners of an address from time to time, until the function that it returns is
// called.
func watchQueue(addr string) (stop func() []report.Point) {
	ended, seen := make(chan struct{}), make(chan []report.Point)
	go func() { // ends with stop
		var points []report.Point
		begin, ticker := time.Now(), time.NewTicker(queueInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				seen <- points
				return
			case <-ticker.C:
				listeners, err := reuseport.Listeners(context.Background(), "tcp", addr)
				if err != nil {
					continue // there is none while it restarts
				}
				point := report.Point{Seconds: time.Since(begin).Seconds()}
				for _, l := range listeners {
					point.Value += float64(l.Queue)
				}
				points = append(points, point)
			}
		}
	}()
	return func() []report.Point {
		close(ended)
		return <-seen
	}
}

func queueFigures(points []report.Point) report.Figures {
	if len(points) == 0 {
		return nil
	}
	var sum, longest float64
	for _, p := range points {
		sum, longest = sum+p.Value, max(longest, p.Value)
	}
	return report.Figures{report.QueueMax: longest, report.QueueMean: sum / float64(len(points))}
}

// usage is the CPU time that processes have used.
type usage struct {
	total, user, system time.Duration // user and system are in ticks of 10 ms, too coarse for more than their ratio
}

// usageOf returns the usage of processes until now; a process that has ended counts as zero.
func usageOf(pids []int) usage {
	u := usage{total: proc.CPU(pids...)}
	for _, pid := range pids {
		if s, err := proc.Stat(pid); err == nil {
			u.user, u.system = u.user+time.Duration(s.UTime), u.system+time.Duration(s.STime)
		}
	}
	return u
}

// since returns what was used between before and u, to the nanosecond.
func (u usage) since(before usage) usage {
	total, user, system := u.total-before.total, u.user-before.user, u.system-before.system
	share := 0.5
	if user+system > 0 {
		share = float64(user) / float64(user+system)
	}
	user = time.Duration(share * float64(total))
	return usage{total, user, total - user}
}
