//go:build linux

package ways

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

const (
	startWithin = 60 * time.Second
	stopWithin  = 30 * time.Second
	glance      = 2 * time.Millisecond // between two looks at processes that are not our children
)

// plan is what is particular to a way.
type plan struct {
	// command makes the program's command, for an address and a directory for its files.
	command func(addr, dir string) (*exec.Cmd, error)

	version    string         // of a foreign program, with its options
	workers    int            // processes that answer requests
	mainServes bool           // the first process is one of them
	silent     bool           // workers don't say that they serve
	reserves   bool           // each process binds the address by itself: it must be held, and port 0 be made one port
	end        syscall.Signal // the order to stop; 0: the end of standard input

	// workerPIDs returns the workers, where it takes more than to look at the processes.
	workerPIDs func(dir string) ([]int, error)

	// restart is nil where it takes a stop and a start.
	restart func(*Server, context.Context) error
}

// Server is one that runs. Its methods may be called at the same time, but for Restart and Stop, each of which must be
// alone.
type Server struct {
	plan plan
	dir  string
	held *reuseport.Reservation // nil: none

	mu    sync.Mutex // guards the rest
	addr  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string   // of standard output; closed with it
	ended chan struct{} // closed when the first process is gone
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
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	// A pipe of our own, whose end is not that of the process: its workers hold it, too.
	read, write, err := os.Pipe()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	cmd.Stdout, cmd.Stderr = write, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for the caller, who stops us
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		return errors.Join(err, read.Close(), in.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.in, s.lines, s.ended = cmd, in, make(chan string, 1024), make(chan struct{})
	go readLines(read, s.lines) // ends when nobody holds the other end
	go wait(cmd, s.ended)       // ends with the process
	return nil
}

// readLines drops what nobody takes: a program must not wait for us.
func readLines(out io.ReadCloser, lines chan<- string) {
	defer close(lines)
	defer out.Close()
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		select {
		case lines <- scanner.Text():
		default:
		}
	}
}

func wait(cmd *exec.Cmd, ended chan<- struct{}) {
	_ = cmd.Wait() // how it ended is of no interest: it was told to, or whoever waits for it says that it has ended
	close(ended)
}

// awaitServing waits until all workers have said that they serve.
func (s *Server) awaitServing(ctx context.Context) error {
	for range s.plan.workers {
		line, err := s.line(ctx, saidWorker)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.addr = line
		s.mu.Unlock()
	}
	return nil
}

// line returns the next line that starts with a prefix, without it. Others are skipped.
func (s *Server) line(ctx context.Context, prefixes ...string) (string, error) {
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return "", errors.New("it has ended")
			}
			for _, prefix := range prefixes {
				if rest, ok := strings.CutPrefix(line, prefix); ok {
					return rest, nil
				}
			}
		case <-s.ended:
			return "", errors.New("it has ended")
		case <-ctx.Done():
			return "", fmt.Errorf("it has not said %q: %w", prefixes, ctx.Err())
		}
	}
}

// awaitWorkers waits until there are as many workers as there have to be, none of them one of old.
func (s *Server) awaitWorkers(ctx context.Context, old []int) error {
	isOld := func(pid int) bool { return slices.Contains(old, pid) }
	for {
		if now := s.Workers(); len(now) == s.plan.workers && !slices.ContainsFunc(now, isOld) {
			return nil
		}
		select {
		case <-s.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("%d workers are to be there, none of them of %v; there are %v: %w", s.plan.workers, old,
				s.Workers(), ctx.Err())
		case <-time.After(glance):
		}
	}
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
func (s *Server) PIDs() []int { return pids(s.family()) }

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
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

func (s *Server) family() []process {
	main := s.main()
	if main == 0 {
		return nil
	}
	return group(main)
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
	if _, err := fmt.Fprintln(s.in, toldRestart); err != nil {
		return err
	}
	failure, err := s.line(ctx, saidFailed, saidRestarted)
	if err == nil && failure != "" {
		err = errors.New(failure)
	}
	return err
}

// hangUp lets a program do it by SIGHUP, and waits until the old workers are gone.
func (s *Server) hangUp(ctx context.Context) error {
	old := s.Workers()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	if err := s.awaitWorkers(ctx, old); err != nil || s.plan.silent {
		return err
	}
	return s.awaitServing(ctx)
}

// Stop lets the server finish what it has begun, kills what is left after 30 s, which is an error, and removes its files.
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

// halt ends all processes, and returns an error when they had to be killed.
func (s *Server) halt() error {
	all := s.family()
	if len(all) == 0 {
		return nil
	}
	_ = s.in.Close()
	if s.plan.end != 0 {
		_ = s.cmd.Process.Signal(s.plan.end) // it may have ended
	}
	if all[0].pid != s.main() { // it was killed, and has left its workers
		signalAll(all, syscall.SIGTERM)
	}
	clean := awaitGone(all, stopWithin)
	signalAll(s.family(), syscall.SIGKILL) // also one that was started meanwhile
	<-s.ended
	if !clean {
		return fmt.Errorf("it did not end in %v and was killed", stopWithin)
	}
	return nil
}

func signalAll(all []process, signal syscall.Signal) {
	for _, p := range all {
		_ = syscall.Kill(p.pid, signal) // it may have ended
	}
}

func awaitGone(all []process, within time.Duration) bool {
	for end := time.Now().Add(within); slices.ContainsFunc(all, process.runs); time.Sleep(glance) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

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
