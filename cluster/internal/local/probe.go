package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/closed"
)

// expectTimeout is how long a probe connection is expected: a master that has given this node up does not call Forget, and the
// port may be a client's then.
const expectTimeout = 2 * time.Second

// expected is a probe connection that this process watches for.
type expected struct {
	arrival   *serve.Arrival
	forgotten chan struct{} // closed by forget
	expiry    *time.Timer
}

// Expect watches for a probe connection.
func (l *Listeners) Expect(_ context.Context, port portgroup.Key, source netip.AddrPort) error {
	one, err := l.Get(port)
	if err != nil {
		return err
	}
	e := &expected{arrival: one.Expect(source), forgotten: make(chan struct{})}
	e.expiry = time.AfterFunc(expectTimeout, func() { forget(l, one, source) })
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
	return forget(l, one, source), nil
}

func forget(l *Listeners, one *Listener, source netip.AddrPort) (came bool) {
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
	return closed.Is(e.arrival.Done()) && e.arrival.Inode() == 0
}

// Await waits until a probe connection has arrived. One that was not expected may have been accepted from the queue of another node.
func (l *Listeners) Await(ctx context.Context, port portgroup.Key, source netip.AddrPort) (inode uint32, err error) {
	one, err := l.Get(port)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	e := l.expected[source]
	l.mu.Unlock()
	if e == nil {
		if inode, ok := one.Origin(source); ok {
			return inode, nil
		}
		return 0, fmt.Errorf("no probe connection is expected from %v", source)
	}
	select {
	case <-e.arrival.Done():
		return cmp.Or(e.arrival.Inode(), one.inode), nil
	case <-e.forgotten:
		return 0, fmt.Errorf("the probe connection from %v went elsewhere", source)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Probe waits until all accept loops have passed.
func (l *Listeners) Probe(ctx context.Context) (load portgroup.Load, err error) {
	load.Connections, load.Requests = nodeOf(l).Load()
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
