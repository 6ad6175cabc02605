package loss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/load"
)

const (
	// requestTimeout is longer than two lost SYNs, and than a worker that hangs has to live, on a slow machine too.
	requestTimeout = 2 * time.Minute
	// glance is the time between two looks.
	glance = 2 * time.Millisecond
)

// site is where servers and clients are started: each function calls its argument there.
type site struct {
	server, client func(func() error) error
	hosts          []string // of a server, for the clients
}

// here is this machine as it is.
func here() site {
	call := func(f func() error) error { return f() }
	return site{server: call, client: call, hosts: []string{"127.0.0.1", "::1"}}
}

// trial is what all parts do: it starts a cluster and loads it while faults happen to it, which gets the first load, and
// returns what came of each load.
func (at site) trial(ctx context.Context, how serve, loads []load.Plan, faults func(*server, *load.Runner) error) (_ []load.Result, err error) {
	var s *server
	if err := at.server(func() (err error) { s, err = startServer(how); return err }); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	return at.under(ctx, s.addr, loads, func(r *load.Runner) error { return faults(s, r) })
}

// under runs loads on a server of the site while f runs, which gets the first of them, and returns what came of each.
func (at site) under(ctx context.Context, addr string, loads []load.Plan, f func(*load.Runner) error) (results []load.Result, err error) {
	if err := checkMigration(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var runners []*load.Runner
	defer func() {
		cancel() // those that run have met an error
		for _, r := range runners {
			<-r.Done()
		}
	}()
	for _, p := range loads {
		r, err := at.start(ctx, p, addr)
		if err != nil {
			return nil, err
		}
		runners = append(runners, r)
		if err := await(ctx, r, 1); err != nil {
			return nil, err
		}
	}
	var first *load.Runner
	if len(runners) > 0 {
		first = runners[0]
	}
	if err := f(first); err != nil {
		return nil, err
	}
	for _, r := range runners {
		r.Stop()
		result, loadErr := r.Wait()
		results, err = append(results, result), errors.Join(err, loadErr)
	}
	return results, err
}

func (at site) start(ctx context.Context, p load.Plan, addr string) (r *load.Runner, err error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	for _, host := range at.hosts {
		p.Addrs = append(p.Addrs, net.JoinHostPort(host, port))
	}
	p.Timeout = cmp.Or(p.Timeout, requestTimeout)
	if p.Strict == nil {
		p.Strict = new(load.Strict)
	}
	err = at.client(func() (err error) { r, err = load.Start(ctx, p); return err })
	return r, err
}

// await returns when a load has made so many requests.
func await(ctx context.Context, r *load.Runner, requests int64) error {
	return eventually(ctx, patience, func() (string, error) {
		select {
		case <-r.Done():
			_, err := r.Wait()
			return "", fmt.Errorf("the load has ended: %w", err)
		default:
		}
		if r.SoFar().Requests < requests {
			return "the load does not get on", nil
		}
		return "", nil
	})
}

// eventually returns when nothing is missing any more, or, after a time, an error that tells what is.
func eventually(ctx context.Context, within time.Duration, missing func() (string, error)) error {
	for end := time.Now().Add(within); ; time.Sleep(glance) {
		what, err := missing()
		switch {
		case err != nil || what == "":
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(end):
			return fmt.Errorf("after %v: %s", within, what)
		}
	}
}

// checkMigration makes sure that it is not the kernel that saves what a listener leaves behind.
func checkMigration() error {
	value, err := os.ReadFile("/proc/sys/net/ipv4/tcp_migrate_req")
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without it
	}
	if err == nil && strings.TrimSpace(string(value)) != "0" {
		err = errors.New("net.ipv4.tcp_migrate_req is not 0, so the kernel would help: sudo sysctl net.ipv4.tcp_migrate_req=0")
	}
	return err
}
