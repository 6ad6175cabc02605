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

// hitLife is the longest life of a value: what the cache has by default.
const hitLife = 10 * time.Minute

// getter returns a function that gets a value which is stored, and a function that ends it.
func (l *cacheLeader) getter(name string) (get func(key string) error, end func(), err error) {
	switch name {
	case HitMeshed:
		_, err := l.node.fill(hitKeys)
		return func(key string) error { _, err := l.node.cache.Get(l.ctx, key); return err }, func() {}, err
	case HitAlone:
		c, err := invalidate.New(nil, invalidate.Options[string, int64]{MaxEntries: maxEntries},
			func(context.Context, string) (int64, error) { return 0, nil })
		return func(key string) error { _, err := c.Get(l.ctx, key); return err }, func() { _ = c.Close() }, err // nothing to close but memory
	case HitOtter, HitExpiring:
		options := &otter.Options[string, int64]{MaximumSize: maxEntries}
		if name == HitExpiring {
			options.ExpiryCalculator = otter.ExpiryWriting[string, int64](hitLife)
		}
		c := otterCache{otter.Must(options)}
		_, err := c.fill(hitKeys)
		return c.mustHave, func() { c.StopAllGoroutines() }, err
	}
	return nil, nil, fmt.Errorf("no hits of %q", name)
}

func (c otterCache) mustHave(key string) error {
	if _, ok := c.GetIfPresent(key); !ok {
		return fmt.Errorf("key %s is not there", key)
	}
	return nil
}

// hit gets what is stored, and nothing else, as often as it can.
func (l *cacheLeader) hit(o Order) (r Result, err error) {
	get, end, err := l.getter(o.Of)
	if err != nil {
		return r, err
	}
	defer end()
	keys := keysTo(hitKeys)
	if r.Uncounted, err = hitFor(get, keys, o.Warm); err != nil {
		return r, err
	}
	loads := l.node.loads.Load()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, err := ownCPU() // not the clock: others may take the CPU away
	if err != nil {
		return r, err
	}
	r.Requests, err = hitFor(get, keys, o.Duration)
	used, failed := ownCPU()
	r.Elapsed, err = used-begin, errors.Join(err, failed)
	runtime.ReadMemStats(&after)
	r.Allocations = int64(after.Mallocs - before.Mallocs)
	if l.node.loads.Load() != loads {
		err = errors.Join(err, errors.New("not all were hits"))
	}
	return r, err
}

// hitFor looks at the clock after each run through the keys.
func hitFor(get func(string) error, keys []string, d time.Duration) (gets int64, err error) {
	for begin := time.Now(); time.Since(begin) < d; {
		for _, key := range keys {
			if err := get(key); err != nil {
				return gets, err
			}
		}
		gets += int64(len(keys))
	}
	return gets, nil
}

// ownCPU returns the CPU time that this process has used. Other than schedstat it is exact while a thread runs.
func ownCPU() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}
