package cost

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
)

// server is one of our processes that serves.
type server struct {
	*child.Process
	addr string
}

// startServer starts a server and returns when it is ready.
func startServer(role string, nodes int) (*server, error) {
	p, err := child.Run(role, nodes)
	if err != nil {
		return nil, err
	}
	s := &server{Process: p}
	if s.addr, err = s.Line(0, "ready "); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// stop ends the server as a service manager does.
func (s *server) stop() error {
	err := s.Stop(syscall.SIGTERM) // SIGINT may be ignored in the background of a shell
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return nil // the plain one dies of the signal
	}
	return err
}

// processes returns the pids of the server, the workers after the master.
func (s *server) processes() []int {
	return append([]int{s.PID()}, proc.PIDs(proc.Find(func(p procfs.ProcStat) bool { return p.PPID == s.PID() }))...)
}

// cpu returns the CPU time that all processes of the server have used.
func (s *server) cpu() time.Duration { return proc.CPU(s.processes()...) }

// measure applies a closed loop to s.
func (s *server) measure(ctx context.Context, p load.Plan) (r roles.Result, err error) {
	p.Addrs = []string{s.addr}
	before := s.cpu()
	run, err := load.Start(ctx, p)
	if err != nil {
		return r, err
	}
	got, err := run.Wait()
	if err != nil {
		return r, err
	}
	r = roles.Result{
		Requests: got.Requests, Failures: got.Failures(), Elapsed: got.Elapsed,
		P50: got.Quantile(50), P99: got.Quantile(99), Max: got.Quantile(100), CPU: s.cpu() - before,
	}
	if r.Failures > 0 {
		err = fmt.Errorf("load on %s: %d requests failed, and %d did not: %v", s.addr, r.Failures, r.Requests, got.Failed)
	}
	return r, err
}
