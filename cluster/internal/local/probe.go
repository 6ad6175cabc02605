package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/closed"
)

// expectTimeout is how long a probe connection is expected: a master that has given this node up does not call Forget, and the
// port may be a client's then.
const expectTimeout = 2 * time.Second

// expected is a probe connection that this process watches for.
type expected struct {
	came      <-chan struct{} // closed when we have accepted it
	forgotten chan struct{}   // closed by forget
	expiry    *time.Timer
}

// Expect watches for a probe connection.
func (l *Listeners) Expect(_ context.Context, port portgroup.Key, source netip.AddrPort) error {
	one, err := l.Get(port)
	if err != nil {
		return err
	}
	e := &expected{came: one.Expect(source), forgotten: make(chan struct{})}
	e.expiry = time.AfterFunc(expectTimeout, func() { l.forget(one, source) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected[source] = e
	return nil
}

// Forget ends that.
func (l *Listeners) Forget(_ context.Context, port portgroup.Key, source netip.AddrPort) (came bool, err error) {
	one, err := l.Get(port)
	if err != nil {
		return false, err
	}
	return l.forget(one, source), nil
}

func (l *Listeners) forget(one *Listener, source netip.AddrPort) (came bool) {
	one.Forget(source)
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.expected[source]
	if e == nil {
		return false
	}
	delete(l.expected, source)
	e.expiry.Stop()
	close(e.forgotten)
	return closed.Is(e.came)
}

// Await waits until a probe connection has arrived.
func (l *Listeners) Await(ctx context.Context, _ portgroup.Key, source netip.AddrPort) error {
	l.mu.Lock()
	e := l.expected[source]
	l.mu.Unlock()
	if e == nil {
		return fmt.Errorf("no probe connection is expected from %v", source)
	}
	select {
	case <-e.came:
		return nil
	case <-e.forgotten:
		return fmt.Errorf("the probe connection from %v went elsewhere", source)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Probe waits until all accept loops have passed.
func (l *Listeners) Probe(ctx context.Context) (load portgroup.Load, err error) {
	load.Connections, load.Requests = l.belongsTo().Load()
	var pokes sync.WaitGroup
	var mu sync.Mutex // guards err
	for _, one := range l.All() {
		q := portgroup.Queue{Port: one.Key}
		q.Length, q.Limit = one.Queue()
		load.Queues = append(load.Queues, q)
		if l.pauses {
			continue
		}
		pokes.Go(func() { // ends with ctx
			stuck := one.Poke(ctx)
			mu.Lock()
			defer mu.Unlock()
			if stuck != nil && !errors.Is(stuck, net.ErrClosed) {
				err = stuck
			}
		})
	}
	pokes.Wait()
	return load, err
}
