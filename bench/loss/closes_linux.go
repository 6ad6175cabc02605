package loss

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// lonely is how long a listener is there that gets nothing.
const lonely = 50 * time.Microsecond

// proveCloses closes listeners to which nothing was ever steered, while a member of their group is under load: plainly, and
// hidden before.
func proveCloses(ctx context.Context, c config) (_ *report, err error) {
	server, err := reuseport.Listen(ctx, "tcp4", "127.0.0.1:0", reuseport.Options{})
	if err != nil {
		return nil, err
	}
	served := make(chan struct{})
	go func() { // ends with server
		defer close(served)
		_ = http.Serve(server, handler()) // net.ErrClosed, in the end
	}()
	defer func() {
		err = errors.Join(err, server.Close())
		<-served
	}()
	if err := reuseport.Attach(server, reuseport.Steering{Weights: []uint32{1, 0}}); err != nil {
		return nil, err
	}
	r := &report{Title: "Closing listeners that get nothing"}
	r.row("", "closes", "connections", "failed", "of them")
	for _, hidden := range []bool{false, true} {
		closes := 0
		tallies, err := under([]load{{Clients: c.Clients}}, []string{server.Addr().String()}, func() error {
			for end := now() + c.Closes; now() < end && ctx.Err() == nil; closes++ {
				if err := closeOne(ctx, server.Addr().String(), hidden); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
		name := "plain close"
		if hidden {
			name = "hidden before"
			r.expect(tallies[0].failures() == 0, "%d connections failed: %s", tallies[0].failures(), tallies[0].describe())
		}
		r.row(name, fmt.Sprint(closes), fmt.Sprint(tallies[0].Connections), fmt.Sprint(tallies[0].failures()), tallies[0].kinds())
	}
	r.note("A plain close hits a moment of some 100 ns, so that a short run may lose nothing.")
	return r, nil
}

// closeOne lets a listener join the group, as the first that the kernel finds of it (__inet_hash), and closes it.
func closeOne(ctx context.Context, addr string, hidden bool) error {
	l, err := reuseport.Listen(ctx, "tcp4", addr, reuseport.Options{})
	if err != nil {
		return err
	}
	for end := now() + lonely; now() < end; {
	}
	return errors.Join(hideIf(l, hidden), l.Close())
}

func hideIf(l *net.TCPListener, hidden bool) error {
	if !hidden {
		return nil
	}
	return reuseport.Hide(l)
}
