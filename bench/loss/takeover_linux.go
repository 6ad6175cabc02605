package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// takeoverWithin is more than a takeover may take.
const takeoverWithin = 20 * time.Second

// proveTakeovers has one master after the other taken over by a new one, which listens itself, too.
func proveTakeovers(ctx context.Context, c config) (_ *report, err error) {
	if err := checkMigration(); err != nil {
		return nil, err
	}
	s, err := startServer(serve{Addr: ":0", Nodes: nodes, MasterListens: true})
	if err != nil {
		return nil, err
	}
	master := s.PID()
	defer func() { err = errors.Join(err, s.endMaster(master)) }()
	r := &report{Title: fmt.Sprintf("Takeovers by a new master (SIGUSR2), with %d nodes of which the master is one", nodes)}
	times := c.Restarts/20 + 1
	var took []time.Duration
	loads := []load{{Clients: c.Clients / 2}, {Clients: c.Clients / 2, KeepAlive: true}}
	tallies, err := under(loads, addrs(s.addr), func() error {
		for range times {
			begin := now()
			next, err := s.takeOver(ctx, master)
			if err != nil {
				return err
			}
			master, took = next, append(took, now()-begin)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(s.serve.Log, 8000))
	}
	r.row("", "requests", "connections", "failed", "of them", "late", "p99 ms", "max ms")
	for i, name := range []string{"a connection each", "keep-alive"} {
		t := tallies[i]
		r.row(name, fmt.Sprint(t.Requests), fmt.Sprint(t.Connections), fmt.Sprint(t.failures()), t.kinds(), fmt.Sprint(t.Late),
			ms(t.P99), ms(t.Max))
		r.expect(t.failures() == 0, "%s: %d failed: %s", name, t.failures(), t.describe())
	}
	slices.Sort(took)
	r.note("%d takeovers; the old master was gone after %s ms (median), %s at most", times, ms(took[len(took)/2]), ms(took[len(took)-1]))
	if len(r.Broken) > 0 {
		fmt.Fprintf(os.Stderr, "the end of the log of the nodes:\n%s\n", tail(s.serve.Log, 20000))
	}
	return r, nil
}

// takeOver returns the pid of the new master, when the old one is gone and all is well.
func (s *server) takeOver(ctx context.Context, old int) (pid int, err error) {
	if err := unix.Kill(old, unix.SIGUSR2); err != nil {
		return 0, os.NewSyscallError("kill", err)
	}
	why := "the old one is still there"
	for end := time.Now().Add(takeoverWithin); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if !isGone(old) {
			continue
		}
		status, err := s.Status(ctx)
		if err != nil {
			why = err.Error()
			continue
		}
		ready := 0
		for _, n := range status.Nodes {
			if n.State == "ready" && n.Accepts {
				ready++
			}
		}
		if status.PID != old && ready == nodes && status.Doing == "" && status.Steering.Picture {
			return status.PID, nil
		}
		why = fmt.Sprintf("%d nodes are ready, doing %q, picture %t, strangers %v", ready, status.Doing, status.Steering.Picture, status.Steering.Strangers)
	}
	return 0, fmt.Errorf("the takeover from pid %d is not done: %s", old, why)
}

// endMaster is end for a cluster whose master is another process now.
func (s *server) endMaster(pid int) error {
	if pid == s.PID() {
		return s.end()
	}
	send(pid, unix.SIGTERM)
	if !awaitGone(pid, patience) {
		send(pid, unix.SIGKILL)
		return fmt.Errorf("master %d did not end", pid)
	}
	return s.end()
}
