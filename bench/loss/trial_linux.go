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

// trial is what the parts are made of: loads on a server, and faults that happen to it meanwhile.
type trial struct {
	load    *load.Runner   // the first one, while faults happen
	faults  load.Histogram // how long each took
	results []load.Result  // of the loads
}

// fault lets one happen.
func (t *trial) fault(f func() error) error {
	begin := time.Now()
	err := f()
	t.faults.Record(time.Since(begin), 1)
	return err
}

// try starts a cluster and loads it while f lets faults happen to it.
func (at site) try(ctx context.Context, how serve, loads []load.Plan, f func(*server, *trial) error) (t *trial, err error) {
	var s *server
	if err := at.server(func() (err error) { s, err = startServer(how); return err }); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	return at.under(ctx, s.addr, loads, func(t *trial) error { return f(s, t) })
}

// under loads a server of the site while f lets faults happen to it.
func (at site) under(ctx context.Context, addr string, loads []load.Plan, f func(*trial) error) (*trial, error) {
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
	t := &trial{faults: load.NewHistogram()}
	if len(runners) > 0 {
		t.load = runners[0]
	}
	err := f(t)
	for _, r := range runners {
		if err != nil {
			return nil, err
		}
		var result load.Result
		r.Stop()
		result, err = r.Wait()
		t.results = append(t.results, result)
	}
	return t, err
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
