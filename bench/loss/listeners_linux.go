package loss

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/reuseport"
)

const (
	attachMembers = 16
	attachTimes   = 2000
	attachWithin  = 50 * time.Microsecond
)

// proveAttach asks what it takes to steer a group anew.
func proveAttach(ctx context.Context, c config, r *report) (err error) {
	var group []*net.TCPListener
	defer func() {
		for _, l := range group {
			err = errors.Join(err, l.Close())
		}
	}()
	addr, weights := "127.0.0.1:0", make([]uint32, attachMembers)
	for range weights {
		l, err := reuseport.Listen(ctx, "tcp", addr, reuseport.Options{})
		if err != nil {
			return err
		}
		group, addr = append(group, l), l.Addr().String()
	}
	took := load.NewHistogram()
	for i := range attachTimes {
		for k := range weights {
			weights[k] = uint32(min(1, (i+k)%attachMembers)) // one of them gets nothing
		}
		begin := time.Now()
		if err := reuseport.Attach(group[0], reuseport.Steering{Weights: weights}); err != nil {
			return err
		}
		took.Record(time.Since(begin), 1)
	}
	us := func(q float64) string { return fmt.Sprintf("%.1f", float64(took.Quantile(q))/1e3) }
	r.about("Attaching new weights to a group of %d", attachMembers)
	r.row("times", "p50 us", "p99 us", "max us")
	r.row(attachTimes, us(50), us(99), us(100))
	r.expect(c.Untimed || took.Quantile(50) < attachWithin, "it takes %s us", us(50))
	return nil
}

// lonely is how long a listener is there that gets nothing.
const lonely = 50 * time.Microsecond

// proveCloses closes listeners to which nothing was ever steered, while a member of their group is under load: plainly, and
// hidden before.
func proveCloses(ctx context.Context, c config, r *report) (err error) {
	server, err := reuseport.Listen(ctx, "tcp4", "127.0.0.1:0", reuseport.Options{})
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() { // ends with server
		defer close(served)
		_ = httpServer().Serve(server) // net.ErrClosed, in the end
	}()
	defer func() {
		err = errors.Join(err, server.Close())
		<-served
	}()
	if err := reuseport.Attach(server, reuseport.Steering{Weights: []uint32{1, 0}}); err != nil {
		return err
	}
	addr := server.Addr().String()
	at := here()
	at.hosts = at.hosts[:1] // it listens on IPv4
	r.about("Closing listeners that get nothing")
	r.head("close")
	for _, way := range []struct {
		name string
		hide func(syscall.Conn) error
		must bool // lose nothing
	}{
		{"plain close", func(syscall.Conn) error { return nil }, false},
		{"hidden before", reuseport.Hide, true},
	} {
		t, err := at.under(ctx, addr, []load.Plan{{Connections: c.Clients}}, func(t *trial) error {
			for end := time.Now().Add(c.Closes); time.Now().Before(end); {
				if err := t.fault(func() error { return closeOne(ctx, addr, way.hide) }); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
		r.trial(way.name, t, t.results[0])
		if way.must {
			r.expectAll(way.name, t.results[0])
		}
	}
	r.note("A plain close hits a moment of some 100 ns, so that a short run may lose nothing.")
	return nil
}

// closeOne lets a listener join the group, as the first that the kernel finds of it (__inet_hash), and closes it.
func closeOne(ctx context.Context, addr string, hide func(syscall.Conn) error) error {
	l, err := reuseport.Listen(ctx, "tcp4", addr, reuseport.Options{})
	if err != nil {
		return err
	}
	for end := time.Now().Add(lonely); time.Now().Before(end); {
	}
	return errors.Join(hide(l), l.Close())
}
