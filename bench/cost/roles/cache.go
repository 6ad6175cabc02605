package roles

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/multinode-go/multinode/peer/invalidate"
)

const (
	// maxEntries is how many values any of the caches holds, more than there are keys.
	maxEntries = 1 << 20
	// classesEach is how many classes of keys the cache has for each value that it can store. What is in one class is lost together.
	classesEach = 4
	// maxLease is the longest lease. With a short one, a process that gets no CPU for that time would have nothing cached.
	maxLease = 30 * time.Second
	// minInvalidation is less than a message to all and their answers take.
	minInvalidation = 20 * time.Microsecond
)

func keyOf(i int) string { return strconv.Itoa(i) }

// keysTo returns the first n keys.
func keysTo(n int) (keys []string) {
	for i := range n {
		keys = append(keys, keyOf(i))
	}
	return keys
}

// KeysFor returns how many keys those who send messages cannot use up in a time, as far as a cache holds four times as many. Who needs
// no messages has used them up before.
func KeysFor(d time.Duration) int { return min(int(d/minInvalidation), maxEntries/4) }

// Stored returns how many values all processes of a system store before an order: as many again as are to be invalidated must stay.
func Stored(system string, o Order) int {
	switch {
	case o.Do == ReadHits:
		return HitKeys
	case slices.Contains([]string{Cache, CacheMessages, NATSCached, RedisCached}, system):
		return 2 * o.Keys
	}
	return 0
}

// Loss is what the processes have lost since they have stored all. Each has lost what was invalidated.
type Loss struct {
	Invalidated int64
	Besides     int64 // of all processes together
	Processes   int
}

// Lost is an error unless each process, as filled anew, has lost what was used, and nothing else but by chance: so it is certain that
// what was measured has done its work.
func Lost(system string, used, stored int, filled []Result) (Loss, error) {
	all := Loss{Invalidated: int64(used), Processes: len(filled)}
	most := 0 // that can hardly be lost by chance
	if system == Cache || system == CacheMessages {
		most = 10 + 4*used*(stored-used)/(classesEach*maxEntries)
	}
	for _, r := range filled {
		besides := r.Loaded - used
		if besides < 0 || besides > most {
			return all, fmt.Errorf("a process had lost %d of %d values, want %d and at most %d more", r.Loaded, stored, used, most)
		}
		all.Besides += int64(besides)
	}
	return all, nil
}

// invalidating has a leader whose fan-outs are of keys that are stored everywhere, each at most once.
func invalidating(invalidate func(key string) error) func(Order) (Result, error) {
	return func(o Order) (Result, error) {
		keys := keysTo(o.Keys)
		return o.repeat(func() error {
			if len(keys) == 0 {
				return fmt.Errorf("all of %d keys were used", o.Keys)
			}
			key := keys[0]
			keys = keys[1:]
			return invalidate(key)
		})
	}
}

// cacheNode is a node on the bus that has the cache.
type cacheNode struct {
	*busNode
	ctx   context.Context // of the process
	cache *invalidate.Cache[string, int64]
	loads atomic.Int64
}

func becomeCache(ctx context.Context, p Player) (actor, error) {
	b, err := joinBus(ctx, p)
	if err != nil {
		return actor{}, err
	}
	n := &cacheNode{busNode: b, ctx: ctx}
	options := invalidate.Options[string, int64]{
		Name: "bench", MaxEntries: maxEntries, DisableSharedMemory: p.System == CacheMessages, Lease: maxLease,
	}
	n.cache, err = invalidate.New(n.Bus, options, func(context.Context, string) (int64, error) { return n.loads.Add(1), nil })
	if err != nil {
		return actor{}, err
	}
	can := actions{
		FanOuts:  invalidating(func(key string) error { return n.cache.Invalidate(ctx, key) }),
		Fill:     n.fill,
		ReadHits: n.readAndWrite,
	}
	for _, name := range HitSystems() {
		can[name] = func(o Order) (Result, error) { return n.hit(name, o) }
	}
	_, err = n.fill(Order{Keys: 1})
	return actor{can, func() error { return errors.Join(n.cache.Close(), n.Close()) }}, err
}

// fill has the first so many keys cached, and returns how many were not. It takes a moment until all know each other, and store
// what they load.
func (n *cacheNode) fill(o Order) (r Result, err error) {
	err = retry(func() error {
		before := n.loads.Load()
		for range 2 {
			r.Loaded = int(n.loads.Load() - before)
			for i := range o.Keys {
				if _, err := n.cache.Get(n.ctx, keyOf(i)); err != nil {
					return err
				}
			}
		}
		if again := int(n.loads.Load()-before) - r.Loaded; again > 0 {
			return fmt.Errorf("%d of %d values were not stored", again, o.Keys)
		}
		return nil
	})
	return r, err
}

// otterCache is a process's own cache, whose keys others drop by the messages of a broker.
type otterCache struct{ *otter.Cache[string, int64] }

func (c otterCache) fill(o Order) (r Result, err error) {
	for i := range o.Keys {
		if _, stored := c.SetIfAbsent(keyOf(i), int64(i)); stored {
			r.Loaded++
		}
	}
	return r, nil
}

// drop is a peer's, and answers with the key.
func (c otterCache) drop(_ string, key []byte) ([]byte, error) {
	c.Invalidate(string(key))
	return key, nil
}

// caching is what one writes with a broker: the leader drops a key of its own cache, and asks the peers to do the same.
func caching(serve serveFunc, dial dialFunc) func(context.Context, Player) (actor, error) {
	return func(ctx context.Context, p Player) (actor, error) {
		c := otterCache{otter.Must(&otter.Options[string, int64]{MaximumSize: maxEntries})}
		can := actions{Fill: c.fill}
		if p.ID > 0 {
			return actor{can: can}, serve(ctx, p, c.drop)
		}
		to, err := dial(ctx, p)
		can[FanOuts] = invalidating(func(key string) error {
			c.Invalidate(key)
			return to.ask(topicAll, []byte(key), func(answer []byte) error {
				if string(answer) != key {
					return errors.New("an answer with another key")
				}
				return nil
			})
		})
		return actor{can: can}, err
	}
}
