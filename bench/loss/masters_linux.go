package loss

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

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
func proveMaster(ctx context.Context, c config, r *report) error {
	r.about("kill -9 of the master, and %v later a new one, again and again", masterless)
	return c.proveMasters(ctx, r, serve{}, "masters; one that takes over is ready after", func(s *server) (time.Duration, error) {
		took, err := s.replaceMaster(masterless)
		if err != nil {
			return 0, err
		}
		return took, s.Scale(ctx, nodes, control.Wait) // it has adopted them
	})
}

// proveTakeovers has one master after the other taken over by a new one, which listens itself, too.
func proveTakeovers(ctx context.Context, c config, r *report) error {
	r.about("Takeovers by a new master (SIGUSR2), with %d nodes of which the master is one", nodes)
	return c.proveMasters(ctx, r, serve{MasterListens: true}, "takeovers; the old master was gone after", func(s *server) (time.Duration, error) {
		begin := time.Now()
		err := s.takeOver(ctx)
		return time.Since(begin), err
	})
}

// proveMasters has one master after the other replaced, under load. replace returns how long it took.
func (c config) proveMasters(ctx context.Context, r *report, how serve, note string, replace func(*server) (time.Duration, error)) error {
	var took times
	log := ""
	loads := []load.Plan{{Connections: c.Clients / 2}, {Connections: c.Clients / 2, KeepAlive: true}}
	results, err := here().trial(ctx, how, loads, func(s *server, _ *load.Runner) error {
		for range c.Restarts/20 + 1 {
			one, err := replace(s)
			if err != nil {
				return fmt.Errorf("%w\n%s", err, s.log(8000))
			}
			took = append(took, one)
		}
		log = s.log(20000)
		return nil
	})
	if err != nil {
		return err
	}
	r.row(slices.Concat([]any{"", "requests"}, outcome)...)
	for i, name := range []string{"a connection each", "keep-alive"} {
		r.row(slices.Concat([]any{name, sent(results[i])}, outcomeOf(results[i]))...)
		r.expectAll(name, results[i])
	}
	r.note("%d %s %s ms (median), %s at most", len(took), note, ms(took.quantile(50)), ms(took.quantile(100)))
	if r.err() != nil {
		fmt.Fprintln(os.Stderr, log)
	}
	return nil
}

// replaceMaster kills the master, and starts another one after a time. It returns how long that took to be ready.
func (s *server) replaceMaster(after time.Duration) (took time.Duration, err error) {
	s.Kill()
	<-s.Ended()
	time.Sleep(after)
	begin := time.Now()
	err = s.startMaster()
	return time.Since(begin), err
}

// takeOver returns when there is a new master, the old one is gone, and all is well.
func (s *server) takeOver(ctx context.Context) error {
	old := s.master
	if err := unix.Kill(old, unix.SIGUSR2); err != nil {
		return os.NewSyscallError("kill", err)
	}
	err := eventually(ctx, takeoverWithin, func() (string, error) {
		if !isGone(old) {
			return "the old one is still there", nil
		}
		ready, status, err := s.ready(ctx)
		if err == nil {
			s.master = status.PID
		}
		if s.master != old && len(ready) == nodes && status.Doing == "" && status.Steering.Known {
			return "", nil
		}
		return fmt.Sprintf("%d nodes are ready, doing %q, picture %t, strangers %v, error %v", len(ready), status.Doing,
			status.Steering.Known, status.Steering.Strangers, err), nil
	})
	if err != nil {
		err = fmt.Errorf("the takeover from pid %d is not done: %w", old, err)
	}
	return err
}
