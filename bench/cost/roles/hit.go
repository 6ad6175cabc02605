package roles

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/multinode-go/multinode/peer/invalidate"
)

// Whose hits are compared.
const (
	HitOtter    = "otter"
	HitExpiring = "otter, its own longest life"
	HitAlone    = "cache without peers"
	HitMeshed   = "cache with a peer"
)

// HitSystems are all of them.
func HitSystems() []string { return []string{HitOtter, HitExpiring, HitAlone, HitMeshed} }

// hitLife is the longest life of a value: what the cache has by default.
const hitLife = 10 * time.Minute

// getter returns a function that tells whether it has got a value which is stored, and a function that ends it.
func (n *cacheNode) getter(name string) (get func(key string) bool, end func(), err error) {
	cache := n.cache
	switch name {
	case HitMeshed:
		_, err = n.fill(Order{Keys: HitKeys})
		end = func() {}
	case HitAlone:
		cache, err = invalidate.New(nil, invalidate.Options[string, int64]{MaxEntries: maxEntries},
			func(context.Context, string) (int64, error) { return 0, nil })
		end = func() { _ = cache.Close() } // nothing to close but memory
	default:
		options := &otter.Options[string, int64]{MaximumSize: maxEntries}
		if name == HitExpiring {
			options.ExpiryCalculator = otter.ExpiryWriting[string, int64](hitLife)
		}
		c := otterCache{otter.Must(options)}
		_, err := c.fill(Order{Keys: HitKeys})
		return func(key string) bool { _, ok := c.GetIfPresent(key); return ok }, func() { c.StopAllGoroutines() }, err
	}
	return func(key string) bool { _, err := cache.Get(n.ctx, key); return err == nil }, end, err
}

// hit gets what is stored, and nothing else, as often as it can.
func (n *cacheNode) hit(name string, o Order) (r Result, err error) {
	get, end, err := n.getter(name)
	if err != nil {
		return r, err
	}
	defer end()
	keys := keysTo(HitKeys)
	if r.Uncounted, err = hitFor(get, keys, o.Warm); err != nil {
		return r, err
	}
	loads := n.loads.Load()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := ownCPU() // not the clock: others may take the CPU away
	r.Requests, err = hitFor(get, keys, o.Duration)
	r.Elapsed = ownCPU() - begin
	runtime.ReadMemStats(&after)
	r.Allocations = int64(after.Mallocs - before.Mallocs)
	if n.loads.Load() != loads {
		err = errors.Join(err, errors.New("not all were hits"))
	}
	return r, err
}

// hitFor looks at the clock after each run through the keys.
func hitFor(get func(string) bool, keys []string, d time.Duration) (gets int64, err error) {
	for begin := time.Now(); time.Since(begin) < d; {
		for _, key := range keys {
			if !get(key) {
				return gets, fmt.Errorf("key %s is not there", key)
			}
		}
		gets += int64(len(keys))
	}
	return gets, nil
}

// ownCPU returns the CPU time that this process has used. Other than schedstat it is exact while a thread runs.
func ownCPU() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it cannot fail
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
