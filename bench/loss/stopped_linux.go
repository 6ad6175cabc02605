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
	stoppedTimeout  = 400 * time.Millisecond // of a request: far more than one takes that is not at the stopped worker
	unsteeredWithin = time.Second
	replacedWithin  = 7 * time.Second
	stoppedRounds   = 5
)

// proveStopped stops one of the workers, and asks how long connections still come to it, and until it is replaced.
func proveStopped(ctx context.Context, c config) (_ *report, err error) {
	s, err := startServer(serve{Addr: ":0", Nodes: nodes})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	r := &report{Title: fmt.Sprintf("SIGSTOP of one of %d workers under new connections", nodes)}
	r.row("", "the last connection to it after ms", "such connections", "replaced after ms", "connections")
	for round := range min(stoppedRounds, 1+c.Restarts/100) {
		if err := s.stopOne(ctx, c, r, round+1); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (s *server) stopOne(ctx context.Context, c config, r *report, round int) error {
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(status.Nodes, func(n control.NodeStatus) bool { return !n.Master && isReady(n) })
	if i < 0 {
		return errors.New("no worker")
	}
	node := status.Nodes[i]
	var begin, replaced time.Duration
	loads := []load.Plan{{Connections: 8, Timeout: stoppedTimeout, Strict: &load.Strict{Think: time.Millisecond}}}
	results, err := here().under(ctx, s.addr, loads, func(*load.Runner) error {
		begin = load.Now()
		if err := unix.Kill(node.PID, unix.SIGSTOP); err != nil {
			return os.NewSyscallError("kill", err)
		}
		for ; replaced == 0 && load.Now()-begin < patience && ctx.Err() == nil; time.Sleep(glance) {
			status, err := s.Status(ctx)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(status.Nodes, func(n control.NodeStatus) bool {
				return n.Slot == node.Slot && n.Generation > node.Generation && isReady(n)
			}) {
				replaced = load.Now() - begin
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var last time.Duration
	for _, f := range results[0].Lost {
		last = max(last, f.Begun-begin)
	}
	r.row(fmt.Sprintf("round %d", round), last, results[0].Failures(), replaced, results[0].Connections)
	r.expect(c.Untimed || last <= unsteeredWithin, "a connection came to the stopped worker after %v", last)
	r.expect(replaced > 0 && (c.Untimed || replaced <= replacedWithin), "it was replaced after %v", replaced)
	return nil
}
