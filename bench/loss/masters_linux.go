package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

const (
	// masterless is how long there is no master.
	masterless = 300 * time.Millisecond
	// takeoverWithin is more than a takeover may take.
	takeoverWithin = 20 * time.Second
)

// proveMaster kills a master that does not listen, and starts a new one that takes over.
func proveMaster(ctx context.Context, c config) (*report, error) {
	r := &report{Title: fmt.Sprintf("kill -9 of the master, and %v later a new one, again and again", masterless)}
	return c.proveMasters(ctx, r, serve{}, "masters; one that takes over is ready after", func(s *server) (time.Duration, error) {
		took, err := s.replaceMaster(masterless)
		if err != nil {
			return 0, err
		}
		return took, s.Scale(ctx, nodes, control.Wait) // it has adopted them
	})
}

// proveTakeovers has one master after the other taken over by a new one, which listens itself, too.
func proveTakeovers(ctx context.Context, c config) (*report, error) {
	r := &report{Title: fmt.Sprintf("Takeovers by a new master (SIGUSR2), with %d nodes of which the master is one", nodes)}
	return c.proveMasters(ctx, r, serve{MasterListens: true}, "takeovers; the old master was gone after", func(s *server) (time.Duration, error) {
		begin := load.Now()
		err := s.takeOver(ctx)
		return load.Now() - begin, err
	})
}

// proveMasters has one master after the other replaced, under load. replace returns how long it took.
func (c config) proveMasters(ctx context.Context, r *report, how serve, note string, replace func(*server) (time.Duration, error)) (_ *report, err error) {
	if err := checkMigration(); err != nil {
		return nil, err
	}
	how.Addr, how.Nodes = ":0", nodes
	s, err := startServer(how)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	var took times
	loads := []load.Plan{{Connections: c.Clients / 2}, {Connections: c.Clients / 2, KeepAlive: true}}
	results, err := here().under(ctx, s.addr, loads, func(*load.Runner) error {
		for range c.Restarts/20 + 1 {
			one, err := replace(s)
			if err != nil {
				return err
			}
			took = append(took, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, child.LogEnd(s.serve.Log, 8000))
	}
	r.row(slices.Concat([]any{"", "requests"}, outcome)...)
	for i, name := range []string{"a connection each", "keep-alive"} {
		r.row(slices.Concat([]any{name, sent(results[i])}, outcomeOf(results[i]))...)
		r.expectAll(name, results[i])
	}
	r.note("%d %s %s ms (median), %s at most", len(took), note, ms(took.quantile(50)), ms(took.quantile(100)))
	if len(r.Broken) > 0 {
		fmt.Fprintf(os.Stderr, "the end of the log of the nodes:\n%s\n", child.LogEnd(s.serve.Log, 20000))
	}
	return r, nil
}

// replaceMaster kills the master, and starts another one after a time. It returns how long that took to be ready.
func (s *server) replaceMaster(after time.Duration) (took time.Duration, err error) {
	s.Kill()
	<-s.Ended()
	time.Sleep(after)
	begin := load.Now()
	err = s.startMaster()
	return load.Now() - begin, err
}

// takeOver returns when there is a new master, the old one is gone, and all is well.
func (s *server) takeOver(ctx context.Context) error {
	old := s.master
	if err := unix.Kill(old, unix.SIGUSR2); err != nil {
		return os.NewSyscallError("kill", err)
	}
	why := "the old one is still there"
	for end := time.Now().Add(takeoverWithin); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(glance) {
		if !isGone(old) {
			continue
		}
		status, err := s.Status(ctx)
		if err != nil {
			why = err.Error()
			continue
		}
		s.master = status.PID
		at := status.Steering
		ready := len(slices.DeleteFunc(status.Nodes, func(n control.NodeStatus) bool { return !isReady(n) }))
		if status.PID != old && ready == nodes && status.Doing == "" && at.Known {
			return nil
		}
		why = fmt.Sprintf("%d nodes are ready, doing %q, picture %t, strangers %v", ready, status.Doing, at.Known, at.Strangers)
	}
	return fmt.Errorf("the takeover from pid %d is not done: %s", old, why)
}
