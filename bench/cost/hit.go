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
func (l *cacheLeader) getter(name string) (get func(key string) bool, end func(), err error) {
	ofCache := func(c *invalidate.Cache[string, int64]) func(string) bool {
		return func(key string) bool { _, err := c.Get(l.ctx, key); return err == nil }
	}
	switch name {
	case hitMeshed:
		return ofCache(l.node.cache), func() {}, nil
	case hitAlone:
		c, err := invalidate.New(nil, invalidate.Options[string, int64]{MaxEntries: maxEntries},
			func(context.Context, string) (int64, error) { return 0, nil })
		return ofCache(c), func() { _ = c.Close() }, err // nothing to close but memory
	case hitOtter, hitExpiring:
		options := &otter.Options[string, int64]{MaximumSize: maxEntries}
		if name == hitExpiring {
			options.ExpiryCalculator = otter.ExpiryWriting[string, int64](hitLife)
		}
		o := otter.Must(options)
		fillOtter(o, hitKeys)
		return func(key string) bool { _, ok := o.GetIfPresent(key); return ok }, func() { o.StopAllGoroutines() }, nil
	}
	return nil, nil, fmt.Errorf("no hits of %q", name)
}

// hit gets what is stored, and nothing else, as often as it can.
func (l *cacheLeader) hit(o order) (r result, err error) {
	get, end, err := l.getter(o.Of)
	if err != nil {
		return r, err
	}
	defer end()
	keys := make([]string, hitKeys)
	for i := range keys {
		keys[i] = keyOf(i)
	}
	if o.Of == hitMeshed {
		if _, err := l.node.fill(l.ctx, hitKeys); err != nil {
			return r, err
		}
	}
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

// measureHit asks what a hit costs beyond one of the cache that is below.
func measureHit(ctx context.Context, c config, w io.Writer) (err error) {
	t, err := c.startTeam(player{System: cacheName, Peers: 1}, c.gomaxprocs[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	names := []string{hitOtter, hitExpiring, hitAlone, hitMeshed}
	results := map[string][]result{}
	for round := range c.rounds + 1 { // the first does not count
		for _, name := range turns(names, round) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r, err := t.ask(order{Do: hitOnly, Of: name, Warm: c.slice / warmUp, Duration: c.slice})
			if err != nil {
				return err
			}
			if round > 0 {
				results[name] = append(results[name], r)
			}
		}
	}
	rows := [][]string{{"", "ns", "allocations", "more than otter", "quartiles", "more than " + hitExpiring, "quartiles"}}
	for _, name := range names {
		each := figures(results[name], result.nsPerRequest)
		more, moreThanExpiring := differences(each, figures(results[hitOtter], result.nsPerRequest)), differences(each, figures(results[hitExpiring], result.nsPerRequest))
		rows = append(rows, []string{
			name, fmt.Sprintf("%.1f", median(each)),
			fmt.Sprintf("%.4f", median(figures(results[name], func(r result) float64 { return float64(r.Allocations) / float64(r.Requests) }))),
			fmt.Sprintf("%.1f", median(more)), spread(more), fmt.Sprintf("%.1f", median(moreThanExpiring)), spread(moreThanExpiring),
		})
	}
	table(w, fmt.Sprintf("CPU time of a hit in one process, one after the other, GOMAXPROCS %d", c.gomaxprocs[0]), rows...)
	return nil
}

func differences(values, from []float64) (d []float64) {
	for i, v := range values {
		d = append(d, v-from[i])
	}
	return d
}
