package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/multinode-go/multinode/peer/invalidate"
)

// Whose hits are compared.
const (
	hitOtter    = "otter"
	hitExpiring = "otter, its own longest life"
	hitAlone    = "cache without peers"
	hitMeshed   = "cache with a peer"
)

// hitLife is the longest life of a value: what the cache has by default.
const hitLife = 10 * time.Minute

// getter returns a function that gets a value which is stored, and a function that ends it.
func (l *cacheLeader) getter(name string) (get func(key string) error, end func(), err error) {
	switch name {
	case hitMeshed:
		_, err := l.node.fill(hitKeys)
		return func(key string) error { _, err := l.node.cache.Get(l.ctx, key); return err }, func() {}, err
	case hitAlone:
		c, err := invalidate.New(nil, invalidate.Options[string, int64]{MaxEntries: maxEntries},
			func(context.Context, string) (int64, error) { return 0, nil })
		return func(key string) error { _, err := c.Get(l.ctx, key); return err }, func() { _ = c.Close() }, err // nothing to close but memory
	case hitOtter, hitExpiring:
		options := &otter.Options[string, int64]{MaximumSize: maxEntries}
		if name == hitExpiring {
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
func (l *cacheLeader) hit(o order) (r result, err error) {
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

// measureHit asks what a hit costs beyond one of the cache that is below.
func measureHit(ctx context.Context, c config, w io.Writer) error {
	return c.withTeams(c.gomaxprocs[0], []player{{System: cacheName, Peers: 1}}, func(teams []*team) error {
		var all []*contestant
		for _, name := range []string{hitOtter, hitExpiring, hitAlone, hitMeshed} {
			all = append(all, teams[0].does(name, order{Do: hitOnly, Of: name, Warm: c.slice / warmUp, Duration: c.slice}))
		}
		if err := race(ctx, c.rounds, all); err != nil {
			return err
		}
		title := fmt.Sprintf("CPU time of a hit in one process, one after the other, GOMAXPROCS %d", c.gomaxprocs[0])
		table(w, title, rows(all, hitColumns(all[0], all[1])...)...)
		return nil
	})
}

// hitColumns compares with some of the contestants.
func hitColumns(to ...*contestant) []column {
	columns := []column{
		middle("ns", decimals(1), result.nsPerRequest),
		middle("allocations", decimals(4), func(r result) float64 { return float64(r.Allocations) / float64(r.Requests) }),
	}
	for _, base := range to {
		columns = append(columns, quartiles("more than "+base.name, decimals(1), 3, func(c *contestant) []float64 {
			return c.differences(base, result.nsPerRequest)
		})...)
	}
	return columns
}
