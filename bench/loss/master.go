//go:build linux

package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// masterless is how long there is no master.
const masterless = 300 * time.Millisecond

// proveMaster kills a master that does not listen, and starts a new one that takes over, under load.
func proveMaster(ctx context.Context, c config) (_ *report, err error) {
	if err := checkMigration(); err != nil {
		return nil, err
	}
	s, err := startServer(serve{Addr: ":0", Nodes: nodes})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	r := &report{Title: fmt.Sprintf("kill -9 of the master, and %v later a new one, again and again", masterless)}
	times := c.Restarts/20 + 1
	var ready []time.Duration
	loads := []load{{Clients: c.Clients / 2}, {Clients: c.Clients / 2, KeepAlive: true}}
	tallies, err := under(loads, addrs(s.addr), func() error {
		for range times {
			s.Kill()
			<-s.Ended()
			time.Sleep(masterless)
			begin := now()
			if err := s.startMaster(); err != nil {
				return err
			}
			ready = append(ready, now()-begin)
			if err := s.Scale(ctx, nodes, control.Wait); err != nil { // it has adopted them
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.row("", "requests", "connections", "failed", "of them", "late", "p99 ms", "max ms")
	for i, name := range []string{"a connection each", "keep-alive"} {
		t := tallies[i]
		r.row(name, fmt.Sprint(t.Requests), fmt.Sprint(t.Connections), fmt.Sprint(t.failures()), t.kinds(), fmt.Sprint(t.Late),
			ms(t.P99), ms(t.Max))
		r.expect(t.failures() == 0, "%s: %d failed: %s", name, t.failures(), t.describe())
	}
	slices.Sort(ready)
	r.note("%d masters; one that takes over is ready after %s ms (median), %s at most", times, ms(ready[len(ready)/2]),
		ms(ready[len(ready)-1]))
	if len(r.Broken) > 0 {
		fmt.Fprintf(os.Stderr, "the end of the log of the nodes:\n%s\n", tail(s.serve.Log, 20000))
	}
	return r, nil
}
