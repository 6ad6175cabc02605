package roles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate"
)

// classesEach is how many classes of keys the cache has for each value that it can store.
const classesEach = 4

// maxLease is the longest lease.
const maxLease = 30 * time.Second

// cacheNode is a node on the bus that has the cache. It is also a leader's.
type cacheNode struct {
	*busNode
	cache *invalidate.Cache[string, int64]
	loads atomic.Int64
}

func addCache(p Player, n *busNode) (*cacheNode, error) {
	c := &cacheNode{busNode: n}
	opts := invalidate.Options[string, int64]{
		Name: "bench", MaxEntries: maxEntries, DisableSharedMemory: p.System == CacheMessages,
		Lease: maxLease, // with a short one, a process that gets no CPU for that time would have nothing cached
	}
	var err error
	c.cache, err = invalidate.New(n.Bus, opts, func(context.Context, string) (int64, error) { return c.loads.Add(1), nil })
	return c, err
}

// Close leaves the cache before the mesh.
func (n *cacheNode) Close() error { return errors.Join(n.cache.Close(), n.busNode.Close()) }

// followCache is a peer that has the cache, and is on the bus.
func followCache(p Player) (io.Closer, error) {
	b, err := newBusFollower(p)
	if err != nil {
		return nil, err
	}
	n, err := addCache(p, b)
	if err != nil {
		return nil, err
	}
	return n, n.handle(map[string]bus.Handler{
		topicFill: func(_ context.Context, m bus.Message) (any, error) { return filler(n.fill).answer(m.Data) },
		topicHits: n.trafficOnBus,
	})
}

// fill has the first so many keys cached, and returns how many were not. It is an error when they are not stored.
func (n *cacheNode) fill(keys int) (loaded int, err error) {
	before := n.loads.Load()
	for range 2 {
		loaded = int(n.loads.Load() - before)
		for i := range keys {
			if _, err := n.cache.Get(context.Background(), keyOf(i)); err != nil {
				return 0, err
			}
		}
	}
	if again := int(n.loads.Load()-before) - loaded; again > 0 {
		return 0, fmt.Errorf("%d of %d values were not stored", again, keys)
	}
	return loaded, nil
}

// cacheLeader is a leader on the bus, whose fan-out is an Invalidate.
type cacheLeader struct {
	*busLeader
	node *cacheNode
}

func leadCache(ctx context.Context, p Player) (leader, error) {
	b, err := newBusLeader(ctx, p)
	if err != nil {
		return leader{}, err
	}
	n, err := addCache(p, b.busNode)
	if err != nil {
		return leader{}, err
	}
	l, keys := &cacheLeader{b, n}, &keyring{classes: classesEach * maxEntries}
	can := keys.invalidations(n.fill, l.askAll, func(key string) error { return n.cache.Invalidate(ctx, key) })
	can[Hit], can[ReadHits] = l.hit, l.readAndWrite
	// It takes a moment until all processes store what they load.
	for end := time.Now().Add(patience); ; {
		if err := l.fillAll(1); err == nil || time.Now().After(end) {
			return leader{n, can}, err
		}
	}
}

func (l *cacheLeader) fillAll(keys int) error {
	_, err := fillAll(keys, l.node.fill, l.askAll)
	return err
}
