package ways

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/reuseport"
)

// glance is the time between two looks at processes that are not our children.
const glance = 2 * time.Millisecond

// plan is what is particular to a way.
type plan struct {
	command func(Config) (*exec.Cmd, error) // Addr and Dir are those of the server
	version func() (string, error)          // of a program or a library that is not ours, with its options; nil: none

	alone    bool      // one process, which serves
	silent   bool      // workers don't say that they serve
	reserves bool      // each process binds the address by itself: it must be held, and port 0 be made one port
	end      os.Signal // the order to stop; nil: the end of standard input

	workers func(dir string) ([]int, error) // where it takes more than to look at the processes
	restart func(*Server, context.Context) error
}

// Server is one that runs. Its methods may be called at the same time, but for Restart and Stop, each of which must be
// alone.
type Server struct {
	plan    plan
	config  Config                 // Addr and Dir are its own
	held    *reuseport.Reservation // nil: none
	version string
	process atomic.Pointer[child.Process] // the first one
}

// Start returns when all workers serve. What is started goes on when ctx is done, until Stop.
func (w Way) Start(ctx context.Context, c Config) (_ *Server, err error) {
	if w.Lookup != nil {
		if err := w.Lookup(); err != nil {
			return nil, err
		}
	}
	s := &Server{plan: w.plan}
	if s.config, err = c.withDefaults(); err != nil {
		return nil, err
	}
	if s.plan.alone {
		s.config.Workers = 1
	}
	if s.plan.version != nil {
		if s.version, err = s.plan.version(); err != nil {
			return nil, fmt.Errorf("ways: %w", err)
		}
	}
	if s.config.Dir, err = os.MkdirTemp(c.Dir, "way"); err != nil {
		return nil, fmt.Errorf("ways: %w", err)
	}
	if s.plan.reserves {
		if s.held, err = reuseport.Reserve(ctx, "tcp", s.config.Addr); err != nil {
			return nil, errors.Join(err, os.RemoveAll(s.config.Dir))
		}
		s.config.Addr = s.held.Addr().String()
	}
	addr, err := s.run(ctx)
	if err != nil {
		return nil, errors.Join(s.explain("start", err), s.Stop())
	}
	s.config.Addr = addr
	return s, nil
}

// Addr returns the address at which it serves. It does not change.
func (s *Server) Addr() string { return s.config.Addr }

// Version returns which program it is, with its options; empty for those that are written here.
func (s *Server) Version() string { return s.version }

// PIDs returns all its processes that run now.
func (s *Server) PIDs() []int { return proc.PIDs(s.family()) }

// Workers returns the processes that answer requests now. While they are replaced, old and new ones count.
func (s *Server) Workers() []int {
	switch main := s.main(); {
	case s.plan.workers != nil:
		workers, _ := s.plan.workers(s.config.Dir) // none, if it has ended
		return workers
	case s.plan.alone:
		return s.PIDs()
	default:
		return slices.DeleteFunc(s.PIDs(), func(pid int) bool { return pid == main })
	}
}

func (s *Server) main() int {
	if p := s.process.Load(); p != nil {
		return p.PID()
	}
	return 0
}

// family returns the group of the first process, which comes first. It finds workers whose parent is gone, too.
func (s *Server) family() []procfs.ProcStat {
	main := s.main()
	if main == 0 {
		return nil
	}
	return proc.Find(func(p procfs.ProcStat) bool { return p.PGRP == main })
}

// Restart replaces all workers as the users of this way do, so that the program can be another one afterwards. README.md
// says which ways lose connections. It returns when the new ones serve and the old ones get no new connections.
func (s *Server) Restart(ctx context.Context) error {
	return s.explain("restart", s.plan.restart(s, ctx))
}

// again stops the server and starts it.
func (s *Server) again(ctx context.Context) error {
	err := s.halt()
	_, startErr := s.run(ctx)
	return errors.Join(err, startErr)
}

// order lets our program do it.
func (s *Server) order(ctx context.Context) error {
	p := s.process.Load()
	if _, err := fmt.Fprintln(p.In, toldRestart); err != nil {
		return err
	}
	failure, err := p.Await(ctx, saidFailed, saidRestarted)
	if err == nil && failure != "" {
		err = errors.New(failure)
	}
	return err
}

// hangUp lets a program do it by SIGHUP, and waits until the old workers are gone.
func (s *Server) hangUp(ctx context.Context) error {
	old := s.Workers()
	if err := s.process.Load().Signal(syscall.SIGHUP); err != nil {
		return err
	}
	if err := s.awaitWorkers(ctx, old); err != nil {
		return err
	}
	_, err := s.awaitServing(ctx)
	return err
}

// Stop wakes processes that were stopped, lets the server finish what it has begun, kills what is left after some minutes,
// which is an error, and removes its files.
func (s *Server) Stop() error {
	err := s.explain("stop", s.halt())
	if s.held != nil {
		err = errors.Join(err, s.held.Close())
	}
	return errors.Join(err, os.RemoveAll(s.config.Dir))
}

func (s *Server) log() string { return filepath.Join(s.config.Dir, "log") }

// explain adds the end of the log to an error, if there is one.
func (s *Server) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ways: %s: %w; the end of its log:\n%s", what, err, child.LogEnd(s.log(), 2000))
}

// run starts the program, and returns its address when its workers serve.
func (s *Server) run(ctx context.Context) (addr string, err error) {
	cmd, err := s.plan.command(s.config)
	if err != nil {
		return "", err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for the caller, who stops us
	p, err := child.StartLogged("it", cmd, s.log())
	if err != nil {
		return "", err
	}
	s.process.Store(p)
	ctx, cancel := context.WithTimeout(ctx, child.Patience)
	defer cancel()
	return s.awaitServing(ctx)
}

// awaitServing waits until all workers serve, and returns where.
func (s *Server) awaitServing(ctx context.Context) (addr string, err error) {
	if s.plan.silent {
		return s.config.Addr, s.awaitWorkers(ctx, nil)
	}
	for range s.config.Workers {
		if addr, err = s.process.Load().Await(ctx, saidWorker); err != nil {
			return "", err
		}
	}
	return addr, nil
}

// awaitWorkers waits until there are as many workers as there have to be, none of them one of old.
func (s *Server) awaitWorkers(ctx context.Context, old []int) error {
	isOld := func(pid int) bool { return slices.Contains(old, pid) }
	for {
		now := s.Workers()
		if len(now) == s.config.Workers && !slices.ContainsFunc(now, isOld) {
			return nil
		}
		select {
		case <-s.process.Load().Ended():
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("%d workers are to be there, none of them of %v; there are %v: %w", s.config.Workers, old, now, ctx.Err())
		case <-time.After(glance):
		}
	}
}

// halt ends all processes, and returns an error when they had to be killed.
func (s *Server) halt() error {
	all := s.family()
	if len(all) == 0 {
		return nil
	}
	p := s.process.Load()
	signalAll(all, syscall.SIGCONT) // whom the caller has stopped
	p.End(s.plan.end)
	if all[0].PID != p.PID() { // it was killed, and has left its workers
		signalAll(all, syscall.SIGTERM)
	}
	end := time.Now().Add(child.Patience)
	for slices.ContainsFunc(all, proc.Runs) && time.Now().Before(end) {
		time.Sleep(glance)
	}
	clean := !slices.ContainsFunc(all, proc.Runs)
	signalAll(s.family(), syscall.SIGKILL) // also one that was started meanwhile
	<-p.Ended()
	if !clean {
		return fmt.Errorf("it did not end in %v and was killed", child.Patience)
	}
	return nil
}

func signalAll(all []procfs.ProcStat, signal syscall.Signal) {
	for _, p := range all {
		_ = syscall.Kill(p.PID, signal) // it may have ended
	}
}
