package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

const (
	reloadInterval = 100 * time.Millisecond
	reloadClients  = 64
	// A p99 under reloads may be so much longer than without, or so long.
	reloadRatio = 1.5
	reloadP99   = 8 * time.Millisecond
)

// proveReloads reloads all the time under keep-alive load, and watches that as many nodes as are wanted are ready.
func proveReloads(ctx context.Context, c config, r *report) error {
	r.about("Reloads of %d nodes every %v under %d keep-alive connections", nodes, reloadInterval, reloadClients)
	r.row("", "reloads", "requests", "requests/s", "connections", "failed", "of them", "p50 ms", "p99 ms", "max ms")
	reloads, lowest, looks := 0, nodes, 0
	under := func(name string, faults func(*server, *load.Runner) error) (p99 time.Duration, err error) {
		loads := []load.Plan{{Connections: reloadClients, KeepAlive: true}}
		results, err := here().trial(ctx, serve{MasterListens: true}, loads, faults)
		if err != nil {
			return 0, err
		}
		t := results[0]
		r.row(name, reloads, sent(t), fmt.Sprintf("%.0f", float64(sent(t))/t.Elapsed.Seconds()), t.Connections, t.Failures(), kinds(t),
			t.Quantile(50), t.Quantile(99), t.Quantile(100))
		r.expectAll(name, t)
		return t.Quantile(99), nil
	}
	without, err := under("none", func(_ *server, run *load.Runner) error { return await(ctx, run, c.Requests) })
	if err != nil {
		return err
	}
	with, err := under("reloads", func(s *server, run *load.Runner) (err error) {
		enough, watched := make(chan struct{}), make(chan error, 1)
		go func() { watched <- s.watchCapacity(ctx, enough, c.Untimed, &lowest, &looks) }() // ends with enough
		for ; run.SoFar().Requests < c.Requests && err == nil; reloads++ {
			next := time.Now().Add(reloadInterval)
			err = s.Reload(ctx, control.Wait)
			time.Sleep(time.Until(next))
		}
		close(enough)
		return errors.Join(err, <-watched)
	})
	if err != nil {
		return err
	}
	r.note("p99 with reloads / without: %.2f; at the fewest, %d of %d nodes were ready, in %d looks at the status",
		float64(with)/float64(without), lowest, nodes, looks)
	r.expect(lowest >= nodes, "only %d of %d nodes were ready", lowest, nodes)
	r.expect(c.Untimed || with <= max(reloadP99, time.Duration(reloadRatio*float64(without))),
		"a p99 of %s ms, without reloads %s", ms(with), ms(without))
	return nil
}

// watchCapacity looks how many nodes are ready, until it is enough. Where time is not judged, one that is slow to answer is.
func (s *server) watchCapacity(ctx context.Context, enough <-chan struct{}, untimed bool, lowest, looks *int) error {
	for {
		select {
		case <-enough:
			return nil
		case <-time.After(glance):
		}
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		ready := 0
		for _, n := range status.Nodes {
			if isReady(n) || untimed && n.Accepts && n.State == control.StateSuspect {
				ready++
			}
		}
		*lowest, *looks = min(*lowest, ready), *looks+1
	}
}

const (
	stoppedTimeout  = 400 * time.Millisecond // of a request: far more than one takes that is not at the stopped worker
	unsteeredWithin = time.Second
	replacedWithin  = 7 * time.Second
	stoppedRounds   = 5
)

// proveStopped stops one of the workers, and asks how long connections still come to it, and until it is replaced.
func proveStopped(ctx context.Context, c config, r *report) error {
	r.about("SIGSTOP of one of %d workers under new connections", nodes)
	r.row("", "the last connection to it after ms", "such connections", "replaced after ms", "connections")
	for round := range min(stoppedRounds, 1+c.Restarts/100) {
		var begin, last, replaced time.Duration
		loads := []load.Plan{{Connections: 8, Timeout: stoppedTimeout, Strict: &load.Strict{Think: time.Millisecond}}}
		results, err := here().trial(ctx, serve{}, loads, func(s *server, _ *load.Runner) error {
			workers, _, err := s.ready(ctx)
			if err != nil {
				return err
			}
			stopped := workers[0]
			begin = load.Now()
			if err := unix.Kill(stopped.PID, unix.SIGSTOP); err != nil {
				return os.NewSyscallError("kill", err)
			}
			err = eventually(ctx, patience, func() (string, error) {
				ready, _, err := s.ready(ctx)
				if err != nil || slices.ContainsFunc(ready, func(n control.NodeStatus) bool {
					return n.Slot == stopped.Slot && n.Generation > stopped.Generation
				}) {
					return "", err
				}
				return "the stopped worker was not replaced", nil
			})
			replaced = load.Now() - begin
			return err
		})
		if err != nil {
			return err
		}
		for _, f := range results[0].Lost {
			last = max(last, f.Begun-begin)
		}
		r.row(fmt.Sprintf("round %d", round+1), last, results[0].Failures(), replaced, results[0].Connections)
		r.expect(c.Untimed || last <= unsteeredWithin, "a connection came to the stopped worker after %v", last)
		r.expect(c.Untimed || replaced <= replacedWithin, "it was replaced after %v", replaced)
	}
	return nil
}

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
	took := load.NewHistogram()
	log := ""
	loads := []load.Plan{{Connections: c.Clients / 2}, {Connections: c.Clients / 2, KeepAlive: true}}
	results, err := here().trial(ctx, how, loads, func(s *server, _ *load.Runner) error {
		for range c.Restarts/20 + 1 {
			one, err := replace(s)
			if err != nil {
				return fmt.Errorf("%w\n%s", err, s.log(8000))
			}
			took.Record(one, 1)
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
	r.note("%d %s %s ms (median), %s at most", took.TotalCount(), note, ms(took.Quantile(50)), ms(took.Quantile(100)))
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
