package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/load"
)

// result is the outcome of a load.
type result struct {
	Requests  int64
	Uncounted int64 // requests before them, to warm up
	Failures  int64
	Elapsed   time.Duration
	P50, P99  time.Duration
	Max       time.Duration
	Clock     time.Duration // p50 of an empty measurement
	Began     time.Duration // when the last of many processes was there; Elapsed is when it had joined all
	Memory    float64       // of an idle process, in MiB
	Lost      loss          // by the processes of a cache
	Processes int           // of the team

	Allocations int64     // while a cache was read
	Hits        hitResult // of a cache that is also written
	Shop        shopResult

	CPU time.Duration // of the server or the team, for all requests; filled in by the parent
}

func (r result) perSecond() float64    { return float64(r.Requests) / r.Elapsed.Seconds() }
func (r result) ms() float64           { return milliseconds(r.Elapsed) }
func (r result) nsPerRequest() float64 { return float64(r.Elapsed) / float64(r.Requests) }
func (r result) cpuPerRequest() float64 {
	return float64(r.CPU.Nanoseconds()) / float64(r.Requests+r.Uncounted) / 1e3
}

// measure applies a closed loop to s.
func (s *server) measure(ctx context.Context, p load.Plan) (r result, err error) {
	p.Addr = s.addr
	before := s.cpu()
	run, err := load.Start(ctx, p)
	if err != nil {
		return r, err
	}
	got, err := run.Wait()
	if err != nil {
		return r, err
	}
	r = result{
		Requests: got.Requests, Failures: got.Failures(), Elapsed: got.Elapsed,
		P50: got.Quantile(50), P99: got.Quantile(99), Max: got.Quantile(100), CPU: s.cpu() - before,
	}
	if r.Failures > 0 {
		err = fmt.Errorf("load on %s: %d requests failed, and %d did not: %v", s.addr, r.Failures, r.Requests, got.Failed)
	}
	return r, err
}

// load starts a load process in a role with a task that takes some time, and returns what came of it.
func (s *server) load(role string, within time.Duration, l any) (r result, err error) {
	before := s.cpu()
	p, err := child.Run(role, l)
	if err != nil {
		return r, err
	}
	answer, err := p.Line(within, "")
	if err = errors.Join(err, p.Wait()); err == nil {
		err = json.Unmarshal([]byte(answer), &r)
	}
	if err != nil {
		return r, fmt.Errorf("load on %s: %w", s.addr, err)
	}
	r.CPU = s.cpu() - before
	return r, nil
}
