//go:build linux

package ways

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/reuseport"
)

const (
	startWithin = 5 * time.Minute      // or the program hangs: no bound for its speed
	glance      = 2 * time.Millisecond // between two looks at processes that are not our children
)

// plan is what is particular to a way.
type plan struct {
	// command makes the program's command, for an address and a directory for its files.
	command func(addr, dir string) (*exec.Cmd, error)

	version    string    // of a foreign program, with its options
	workers    int       // processes that answer requests
	mainServes bool      // the first process is one of them
	silent     bool      // workers don't say that they serve
	reserves   bool      // each process binds the address by itself: it must be held, and port 0 be made one port
	end        os.Signal // the order to stop; nil: the end of standard input

	// workerPIDs returns the workers, where it takes more than to look at the processes.
	workerPIDs func(dir string) ([]int, error)

	// restart is nil where it takes a stop and a start.
	restart func(*Server, context.Context) error
}

// start makes a way's Start.
func start(planFor func(Config) (plan, error)) func(context.Context, Config) (*Server, error) {
	return func(ctx context.Context, c Config) (*Server, error) {
		c, err := c.withDefaults()
		if err != nil {
			return nil, err
		}
		p, err := planFor(c)
		if err != nil {
			return nil, fmt.Errorf("ways: %w", err)
		}
		return p.start(ctx, c)
	}
}

func (p plan) start(ctx context.Context, c Config) (_ *Server, err error) {
	s := &Server{plan: p, addr: c.Addr}
	if s.dir, err = os.MkdirTemp(c.Dir, "way"); err != nil {
		return nil, fmt.Errorf("ways: %w", err)
	}
	if p.reserves {
		if s.held, err = reuseport.Reserve(ctx, "tcp", c.Addr); err != nil {
			return nil, errors.Join(err, s.clean())
		}
		s.addr = s.held.Addr().String()
	}
	if err := s.run(ctx); err != nil {
		return nil, errors.Join(s.explain("start", err), s.Stop())
	}
	return s, nil
}

// run starts the program, and returns when its workers serve.
func (s *Server) run(ctx context.Context) error {
	cmd, err := s.plan.command(s.addr, s.dir)
	if err != nil {
		return err
	}
	if err := s.launch(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if s.plan.silent {
		return s.awaitWorkers(ctx, nil)
	}
	return s.awaitServing(ctx)
}

func (s *Server) launch(cmd *exec.Cmd) error {
	log, err := os.OpenFile(s.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for the caller, who stops us
	p, err := child.Start("it", cmd)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	return nil
}

// awaitServing waits until all workers have said that they serve.
func (s *Server) awaitServing(ctx context.Context) error {
	for range s.plan.workers {
		line, err := s.process.Await(ctx, saidWorker)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.addr = line
		s.mu.Unlock()
	}
	return nil
}

// awaitWorkers waits until there are as many workers as there have to be, none of them one of old.
func (s *Server) awaitWorkers(ctx context.Context, old []int) error {
	isOld := func(pid int) bool { return slices.Contains(old, pid) }
	for {
		if now := s.Workers(); len(now) == s.plan.workers && !slices.ContainsFunc(now, isOld) {
			return nil
		}
		select {
		case <-s.process.Ended():
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("%d workers are to be there, none of them of %v; there are %v: %w", s.plan.workers, old,
				s.Workers(), ctx.Err())
		case <-time.After(glance):
		}
	}
}
