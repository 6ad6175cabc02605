package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

// pair is a baseline and ours, which run at the same time and are measured in turn.
type pair struct{ baseline, ours *server }

// startPair starts the plain server and a cluster.
func startPair(nodes int) (pair, error) {
	baseline, err := startServer(roles.PlainRole, 0)
	if err != nil {
		return pair{}, err
	}
	ours, err := startServer(roles.ClusterRole, nodes)
	if err != nil {
		return pair{}, errors.Join(err, baseline.stop())
	}
	return pair{baseline, ours}, nil
}

func (p pair) stop() error { return errors.Join(p.baseline.stop(), p.ours.stop()) }

// compare loads both.
func (p pair) compare(ctx context.Context, rounds int, apply func(context.Context, *server) (roles.Result, error)) (baseline, ours *contestant, err error) {
	baseline = &contestant{measure: func(ctx context.Context) (roles.Result, error) { return apply(ctx, p.baseline) }}
	ours = &contestant{measure: func(ctx context.Context) (roles.Result, error) { return apply(ctx, p.ours) }}
	return baseline, ours, race(ctx, rounds, []*contestant{baseline, ours})
}

// measureOverhead asks what our code adds to a request.
func measureOverhead(ctx context.Context, c config, w io.Writer) error {
	return measurePair(ctx, c, w, 1, "keep-alive")
}

// measureTwoNodes asks what two processes are good for.
func measureTwoNodes(ctx context.Context, c config, w io.Writer) error {
	return measurePair(ctx, c, w, 2, "keep-alive", shortConnections)
}

// shortConnections is the pattern in which each request has a connection of its own.
const shortConnections = "short connections"

func measurePair(ctx context.Context, c config, w io.Writer, nodes int, patterns ...string) error {
	for _, pattern := range patterns {
		p, err := startPair(nodes)
		if err != nil {
			return err
		}
		plan := load.Plan{Connections: c.connections, Duration: c.duration, KeepAlive: pattern != shortConnections}
		baseline, ours, err := p.compare(ctx, c.rounds, func(ctx context.Context, s *server) (roles.Result, error) { return s.measure(ctx, plan) })
		if err := errors.Join(err, p.stop()); err != nil {
			return err
		}
		baseline.name, ours.name = "net/http", fmt.Sprintf("cluster of %d", nodes)
		table(w, fmt.Sprintf("%s against one net/http process, %s", ours.name, pattern), overheadRows(baseline, ours)...)
	}
	return nil
}

func overheadRows(baseline, ours *contestant) [][]string {
	return versusRows(baseline, ours,
		versus{name: "requests/s", format: decimals(0), of: perSecond},
		versus{name: "CPU us/request", format: decimals(2), of: cpuPerRequest},
		versus{name: "p50 us", format: decimals(0), of: p50},
		versus{name: "p99 us", format: decimals(0), of: p99})
}

// measureRestart asks how long a killed worker is missed. Each worker is the first of its cluster to die, so that no
// back-off is measured.
func measureRestart(ctx context.Context, c config, w io.Writer) error {
	worker := &contestant{measure: func(ctx context.Context) (r roles.Result, err error) {
		r.Elapsed, err = restartOnce(ctx)
		return r, err
	}}
	if err := race(ctx, 2*c.rounds, []*contestant{worker}); err != nil {
		return err
	}
	table(w, "SIGKILL of a worker until its replacement is ready, ms", timeHead, timeRow("", worker.figures(ms)))
	return nil
}

func restartOnce(ctx context.Context) (took time.Duration, err error) {
	s, err := startServer(roles.ClusterRole, 2)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	dir, err := s.Line(0, "directory ")
	if err != nil {
		return 0, err
	}
	events, err := control.NewClient(dir).Events(ctx, control.FromNow)
	if err != nil {
		return 0, err
	}
	defer events.Close()
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
	for e := (control.Event{}); e.Kind != control.EventReady; {
		if e, err = events.Next(); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// measureStart asks how long four nodes take from the start of the program, and a plain server, until they are ready.
func measureStart(ctx context.Context, c config, w io.Writer) error {
	start := func(role string) *contestant {
		return &contestant{measure: func(context.Context) (r roles.Result, err error) {
			begin := time.Now()
			s, err := startServer(role, 4)
			if err != nil {
				return r, err
			}
			r.Elapsed = time.Since(begin)
			return r, s.stop()
		}}
	}
	plain, cluster := start(roles.PlainRole), start(roles.ClusterRole)
	if err := race(ctx, 2*c.rounds, []*contestant{plain, cluster}); err != nil {
		return err
	}
	table(w, "start of the program until it is ready, ms", timeHead,
		timeRow("net/http", plain.figures(ms)), timeRow("cluster of 4", cluster.figures(ms)))
	return nil
}

// measureMemory asks what an idle worker takes beyond an idle plain server.
func measureMemory(ctx context.Context, c config, w io.Writer) error {
	idle := func(role string) *contestant {
		return &contestant{measure: func(context.Context) (r roles.Result, err error) {
			s, err := startServer(role, 2)
			if err != nil {
				return r, err
			}
			r.Memory = s.memory()
			return r, s.stop()
		}}
	}
	plain, worker := idle(roles.PlainRole), idle(roles.ClusterRole)
	if err := race(ctx, c.rounds, []*contestant{plain, worker}); err != nil {
		return err
	}
	memory := func(r roles.Result) float64 { return r.Memory }
	row := []string{}
	for _, values := range [][]float64{plain.figures(memory), worker.figures(memory), worker.differences(plain, memory)} {
		row = append(row, decimals(1)(median(values)))
	}
	table(w, "resident memory of an idle process, MiB", []string{"net/http", "worker", "difference"}, row)
	return nil
}

// memory returns the resident memory of the process that serves, the last one, in MiB.
func (s *server) memory() float64 {
	pids := s.processes()
	rss, _ := proc.Memory(pids[len(pids)-1])
	return rss
}
