package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate"
)

// topicFill asks a peer to have so many keys cached.
const topicFill = "fill"

// maxEntries is how many values any of the caches holds, more than there are keys.
const maxEntries = 1 << 20

// maxLease is the longest lease.
const maxLease = 30 * time.Second

// cacheNode is a node on the bus that has the cache. It is also a leader's.
type cacheNode struct {
	*busNode
	cache *invalidate.Cache[string, int64]
	loads atomic.Int64
}

func addCache(n *busNode) (*cacheNode, error) {
	c := &cacheNode{busNode: n}
	// With a short lease, a process that gets no CPU for that time would have nothing cached.
	opts := invalidate.Options[string, int64]{Name: "bench", MaxEntries: maxEntries, Lease: maxLease}
	var err error
	c.cache, err = invalidate.New(n.Bus, opts, func(context.Context, string) (int64, error) { return c.loads.Add(1), nil })
	return c, err
}

// Close leaves the cache before the mesh.
func (n *cacheNode) Close() error {
	var err error
	if n.cache != nil {
		err = n.cache.Close()
	}
	return errors.Join(err, n.busNode.Close())
}

// followCache is a peer that has the cache, and is on the bus.
func followCache(p player) (io.Closer, error) {
	b, err := newBusFollower(p)
	if err != nil {
		return nil, err
	}
	n, err := addCache(b)
	if err == nil {
		_, filled := n.Subscribe(topicFill, n.fillOnBus)
		_, read := n.Subscribe(topicHits, n.trafficOnBus)
		err = errors.Join(filled, read)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *cacheNode) fillOnBus(ctx context.Context, m bus.Message) (any, error) {
	return onFill(m.Data, func(keys int) (int, error) { return n.fill(ctx, keys) })
}

// onFill takes a question of how many keys, and returns the answer of how many of them were not stored before.
func onFill(question []byte, fill func(keys int) (int, error)) ([]byte, error) {
	keys, err := strconv.Atoi(string(question))
	if err != nil {
		return nil, err
	}
	loaded, err := fill(keys)
	return strconv.AppendInt(nil, int64(loaded), 10), err
}

// fill has the first so many keys cached, and returns how many were not. It is an error when they are not stored.
func (n *cacheNode) fill(ctx context.Context, keys int) (loaded int, err error) {
	before := n.loads.Load()
	for range 2 {
		loaded = int(n.loads.Load() - before)
		for i := range keys {
			if _, err := n.cache.Get(ctx, keyOf(i)); err != nil {
				return 0, err
			}
		}
	}
	if again := int(n.loads.Load()-before) - loaded; again > 0 {
		return 0, fmt.Errorf("%d of %d values were not stored", again, keys)
	}
	return loaded, nil
}

func keyOf(i int) string { return strconv.Itoa(i) }

// keyring has the keys that all processes have cached. Each is invalidated once.
type keyring struct{ filled, used int }

// minInvalidation is less than any invalidation takes.
const minInvalidation = 10 * time.Microsecond

// keysFor returns how many keys cannot all be used up in a time.
func keysFor(d time.Duration) (int, error) {
	keys := int(d / minInvalidation)
	if keys > maxEntries/2 {
		return 0, fmt.Errorf("%d keys are too many for a cache of %d: make -slice shorter", keys, maxEntries)
	}
	return keys, nil
}

// next returns a key that was not used.
func (k *keyring) next() string {
	k.used++
	return keyOf(k.used - 1)
}

// refilled begins anew with keys that are cached. Each process must have lost what was used since the last time, and
// nothing else: then it is certain that what was measured has done its work.
func (k *keyring) refilled(keys int, loaded []int) error {
	for _, n := range loaded {
		if k.filled > 0 && (n != k.used || k.used > k.filled) {
			return fmt.Errorf("a process had lost %d of %d keys, want %d", n, k.filled, k.used)
		}
	}
	k.filled, k.used = keys, 0
	return nil
}

// refill has all keys stored in the leader's own otter and, by ask, in the peers' as well. ask asks each with a question for
// onFill, and hands on the answers.
func (k *keyring) refill(own *otter.Cache[string, int64], d time.Duration, ask func(question string, answered func(string) error) error) error {
	keys, err := keysFor(d)
	if err != nil {
		return err
	}
	loaded := []int{fillOtter(own, keys)}
	if err := ask(strconv.Itoa(keys), func(answer string) error {
		n, err := strconv.Atoi(answer)
		loaded = append(loaded, n)
		return err
	}); err != nil {
		return err
	}
	return k.refilled(keys, loaded)
}

// preparer is a leader that has to do something before its fan-outs are timed.
type preparer interface{ prepare(d time.Duration) error }

// cacheLeader is a leader on the bus, whose fan-out is an Invalidate.
type cacheLeader struct {
	*busLeader
	node *cacheNode
	keys keyring
}

var (
	_ preparer = (*cacheLeader)(nil)
	_ preparer = (*natsCacheLeader)(nil)
)

func leadCache(ctx context.Context, p player) (leader, error) {
	b, err := newBusLeader(ctx, p)
	if err != nil {
		return nil, err
	}
	n, err := addCache(b.busNode)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	l := &cacheLeader{busLeader: b, node: n}
	return l, l.awaitServing()
}

// awaitServing returns when all processes store what they load.
func (l *cacheLeader) awaitServing() error {
	for end := time.Now().Add(patience); ; {
		if _, err := l.fillAll(1); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (l *cacheLeader) fanOut() error { return l.node.cache.Invalidate(l.ctx, l.keys.next()) }

// prepare has all keys cached in all processes.
func (l *cacheLeader) prepare(d time.Duration) error {
	keys, err := keysFor(d)
	if err != nil {
		return err
	}
	loaded, err := l.fillAll(keys)
	if err != nil {
		return err
	}
	return l.keys.refilled(keys, loaded)
}

func (l *cacheLeader) fillAll(keys int) (loaded []int, err error) {
	own, err := l.node.fill(l.ctx, keys)
	if err != nil {
		return nil, err
	}
	answers, err := l.RequestAll(l.ctx, topicFill, strconv.AppendInt(nil, int64(keys), 10))
	if err != nil {
		return nil, err
	}
	loaded = append(loaded, own)
	for _, a := range answers {
		n, err := strconv.Atoi(string(a.Data))
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, n)
	}
	if len(loaded) != l.peers+1 {
		return nil, fmt.Errorf("%d processes have the cache, want %d", len(loaded), l.peers+1)
	}
	return loaded, nil
}

func (l *cacheLeader) Close() error { return l.node.Close() }
