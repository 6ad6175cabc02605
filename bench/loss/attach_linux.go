package loss

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

const (
	attachMembers = 16
	attachTimes   = 2000
	attachWithin  = 50 * time.Microsecond
)

// proveAttach asks what it takes to steer a group anew.
func proveAttach(ctx context.Context, c config) (_ *report, err error) {
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
			return nil, err
		}
		group, addr = append(group, l), l.Addr().String()
	}
	var took times
	for i := range attachTimes {
		for k := range weights {
			weights[k] = uint32(min(1, (i+k)%attachMembers)) // one of them gets nothing
		}
		begin := time.Now()
		if err := reuseport.Attach(group[0], reuseport.Steering{Weights: weights}); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	us := func(q float64) string { return fmt.Sprintf("%.1f", float64(took.quantile(q))/1e3) }
	r := &report{Title: fmt.Sprintf("Attaching new weights to a group of %d", attachMembers)}
	r.row("times", "p50 us", "p99 us", "max us")
	r.row(attachTimes, us(50), us(99), us(100))
	r.expect(c.Untimed || took.quantile(50) < attachWithin, "it takes %s us", us(50))
	return r, nil
}
