//go:build linux

package ways

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/prometheus/procfs"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/reuseport"
)

// Server is one that runs. Its methods may be called at the same time, but for Restart and Stop, each of which must be
// alone.
type Server struct {
	plan plan
	dir  string
	held *reuseport.Reservation // nil: none

	mu      sync.Mutex // guards the rest
	addr    string
	process *child.Process // the first one
}

// Addr returns the address at which it serves. It does not change.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Version returns which program it is, with its options; empty for those that are written here.
func (s *Server) Version() string { return s.plan.version }

// PIDs returns all its processes that run now.
func (s *Server) PIDs() []int { return proc.PIDs(s.family()) }

// Workers returns the processes that answer requests now. While they are replaced, old and new ones count.
func (s *Server) Workers() []int {
	if s.plan.workerPIDs != nil {
		workers, err := s.plan.workerPIDs(s.dir)
		if err != nil {
			return nil // it has ended
		}
		return workers
	}
	all := s.PIDs()
	if !s.plan.mainServes {
		main := s.main()
		all = slices.DeleteFunc(all, func(pid int) bool { return pid == main })
	}
	return all
}

func (s *Server) main() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.PID()
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
	restart := s.plan.restart
	if restart == nil {
		restart = (*Server).again
	}
	if err := restart(s, ctx); err != nil {
		return s.explain("restart", err)
	}
	return nil
}

// again stops the server and starts it.
func (s *Server) again(ctx context.Context) error {
	return errors.Join(s.halt(), s.run(ctx))
}

// order lets our program do it.
func (s *Server) order(ctx context.Context) error {
	if _, err := fmt.Fprintln(s.process.In, toldRestart); err != nil {
		return err
	}
	failure, err := s.process.Await(ctx, saidFailed, saidRestarted)
	if err == nil && failure != "" {
		err = errors.New(failure)
	}
	return err
}

// hangUp lets a program do it by SIGHUP, and waits until the old workers are gone.
func (s *Server) hangUp(ctx context.Context) error {
	old := s.Workers()
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	if err := s.awaitWorkers(ctx, old); err != nil || s.plan.silent {
		return err
	}
	return s.awaitServing(ctx)
}

// Stop wakes processes that were stopped, lets the server finish what it has begun, kills what is left after 30 s, which is
// an error, and removes its files.
func (s *Server) Stop() error {
	err := s.halt()
	if err != nil {
		err = s.explain("stop", err)
	}
	if s.held != nil {
		err = errors.Join(err, s.held.Close())
	}
	return errors.Join(err, s.clean())
}

func (s *Server) clean() error { return os.RemoveAll(s.dir) }

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// explain adds the end of the log to an error.
func (s *Server) explain(what string, err error) error {
	const size = 2000
	log, readErr := os.ReadFile(s.log())
	if readErr != nil {
		return fmt.Errorf("ways: %s: %w", what, err)
	}
	return fmt.Errorf("ways: %s: %w; the end of its log:\n%s", what, err, bytes.TrimSpace(log[max(0, len(log)-size):]))
}
