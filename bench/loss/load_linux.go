package loss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/bench/load"
)

const (
	// requestTimeout is longer than two lost SYNs, and than a worker that hangs has to live, on a slow machine too.
	requestTimeout = 2 * time.Minute
	// glance is the time between two looks.
	glance = 5 * time.Millisecond
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

// under runs loads on a server of the site while f runs, which gets the first of them, and returns what came of each.
func (at site) under(ctx context.Context, addr string, loads []load.Plan, f func(*load.Runner) error) ([]load.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	var runners []*load.Runner
	defer func() {
		cancel() // those that run have met an error
		for _, r := range runners {
			<-r.Done()
		}
	}()
	results := make([]load.Result, len(loads))
	for _, p := range loads {
		r, err := at.start(ctx, p, addr)
		if err != nil {
			return results, err
		}
		runners = append(runners, r)
		if err := await(r, 1); err != nil {
			return results, err
		}
	}
	if err := f(runners[0]); err != nil {
		return results, err
	}
	var errs []error
	for i, r := range runners {
		var err error
		r.Stop()
		results[i], err = r.Wait()
		errs = append(errs, err)
	}
	return results, errors.Join(errs...)
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
func await(r *load.Runner, requests int64) error {
	for end := time.Now().Add(patience); r.SoFar().Requests < requests; time.Sleep(glance) {
		select {
		case <-r.Done():
			_, err := r.Wait()
			return fmt.Errorf("the load has ended: %w", err)
		default:
		}
		if time.Now().After(end) {
			return errors.New("the load does not get on")
		}
	}
	return nil
}

// beside calls watch, whose context is done when f has ended.
func beside(ctx context.Context, watch func(context.Context) error, f func() error) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan error, 1)
	go func() { // ends after f
		err := watch(watching)
		if watching.Err() != nil {
			err = nil
		}
		watched <- err
	}()
	err := f()
	stop()
	return errors.Join(err, <-watched)
}
