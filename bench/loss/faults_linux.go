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
	r.head("reload")
	lowest, looks := nodes, 0
	under := func(name string, f func(*server, *trial) error) (p99 time.Duration, err error) {
		t, err := here().try(ctx, serve{MasterListens: true}, []load.Plan{{Connections: reloadClients, KeepAlive: true}}, f)
		if err != nil {
			return 0, err
		}
		r.trial(name, t, t.results[0])
		r.expectAll(name, t.results[0])
		return t.results[0].Quantile(99), nil
	}
	without, err := under("none", func(_ *server, t *trial) error { return await(ctx, t.load, c.Requests) })
	if err != nil {
		return err
	}
	with, err := under("reloads", func(s *server, t *trial) (err error) {
		enough, watched := make(chan struct{}), make(chan error, 1)
		go func() { watched <- s.watchCapacity(ctx, enough, c.Untimed, &lowest, &looks) }() // ends with enough
		for t.load.SoFar().Requests < c.Requests && err == nil {
			next := time.Now().Add(reloadInterval)
			err = t.fault(func() error { return s.Reload(ctx, control.Wait) })
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
		t, err := here().try(ctx, serve{}, loads, func(s *server, _ *trial) error {
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
		for _, f := range t.results[0].Lost {
			last = max(last, f.Begun-begin)
		}
		r.row(fmt.Sprintf("round %d", round+1), last, t.results[0].Failures(), replaced, t.results[0].Connections)
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
	r.head("new master")
	return c.proveMasters(ctx, r, serve{}, func(s *server, t *trial) error {
		s.killMasterFor(masterless)
		if err := t.fault(s.startMaster); err != nil {
			return err
		}
		return s.Scale(ctx, nodes, control.Wait) // it has adopted them
	})
}

// proveTakeovers has one master after the other taken over by a new one, which listens itself, too.
func proveTakeovers(ctx context.Context, c config, r *report) error {
	r.about("Takeovers by a new master (SIGUSR2), with %d nodes of which the master is one", nodes)
	r.head("takeover")
	return c.proveMasters(ctx, r, serve{MasterListens: true}, func(s *server, t *trial) error {
		return t.fault(func() error { return s.takeOver(ctx) })
	})
}

// proveMasters has one master after the other replaced, under load.
func (c config) proveMasters(ctx context.Context, r *report, how serve, replace func(*server, *trial) error) error {
	log := ""
	loads := []load.Plan{{Connections: c.Clients / 2}, {Connections: c.Clients / 2, KeepAlive: true}}
	t, err := here().try(ctx, how, loads, func(s *server, t *trial) error {
		for range c.Restarts/20 + 1 {
			if err := errors.Join(ctx.Err(), replace(s, t)); err != nil {
				return fmt.Errorf("%w\n%s", err, s.log(8000))
			}
		}
		log = s.log(20000)
		return nil
	})
	if err != nil {
		return err
	}
	for i, name := range []string{"a connection each", "keep-alive"} {
		r.trial(name, t, t.results[i])
		r.expectAll(name, t.results[i])
	}
	if r.err() != nil {
		fmt.Fprintln(os.Stderr, log)
	}
	return nil
}

// killMasterFor leaves the cluster without a master for a time.
func (s *server) killMasterFor(after time.Duration) {
	s.Kill()
	<-s.Ended()
	time.Sleep(after)
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
