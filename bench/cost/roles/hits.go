package roles

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

const (
	// HitKeys is the number of keys that each node reads, and otherKeys the number of keys without a reader.
	HitKeys, otherKeys = 1000, 100_000
	// ReadBurst is how many values a node reads each readPause, which leaves most of the CPUs to others.
	ReadBurst = 100
	readPause = time.Millisecond
	// writeBurst is how many invalidations are due at once.
	writeBurst = 25
)

// Traffic is when a node has read and written.
type Traffic struct{ Hits, Clock, Writes *hdrhistogram.Snapshot }

// Merged is what all nodes have seen together.
func Merged(nodes []Result) (r Result) {
	hits, clock, writes := newHistogram(), newHistogram(), newHistogram()
	for _, n := range nodes {
		hits.Merge(hdrhistogram.Import(n.Traffic.Hits))
		clock.Merge(hdrhistogram.Import(n.Traffic.Clock))
		writes.Merge(hdrhistogram.Import(n.Traffic.Writes))
		r.Elapsed, r.Misses, r.Failures = n.Elapsed, r.Misses+n.Misses, r.Failures+n.Failures
	}
	r.Requests, r.Writes = hits.TotalCount(), writes.TotalCount()
	r.Latency, r.Clock, r.Write = latencies(hits), latencies(clock), latencies(writes)
	return r
}

// traffic is a node that reads and writes.
type traffic struct {
	*cacheNode
	Order
	counts time.Time // from when on it counts
	end    time.Time

	hits, clock *hdrhistogram.Histogram // the reader's, as is misses
	misses      int64
	calls       atomic.Int64
	failures    atomic.Int64
	mu          sync.Mutex
	writes      *hdrhistogram.Histogram // guarded by mu
}

func (n *cacheNode) readAndWrite(o Order) (r Result, err error) {
	now := time.Now()
	t := &traffic{
		cacheNode: n, Order: o, counts: now.Add(o.Warm), end: now.Add(o.Warm + o.Duration),
		hits: newHistogram(), clock: newHistogram(), writes: newHistogram(),
	}
	p := pace{senders: o.Senders, begin: now, end: t.end, burst: writeBurst}
	if o.Rate > 0 {
		p.next = evenly(o.Rate, writeBurst)
	}
	var both errgroup.Group
	both.Go(func() error { return p.run(t.write) })
	both.Go(t.read)
	err = both.Wait()
	r.Elapsed, r.Misses, r.Failures = o.Duration, t.misses, t.failures.Load()
	r.Traffic = Traffic{t.hits.Export(), t.clock.Export(), t.writes.Export()}
	return r, err
}

// read is one goroutine, so what is loaded while it waits for a value is that value.
func (t *traffic) read() error {
	keys := keysTo(HitKeys)
	clock := time.NewTicker(readPause)
	defer clock.Stop()
	for i := 0; ; {
		now := <-clock.C
		if now.After(t.end) {
			return nil
		}
		for range ReadBurst {
			i = (i + 1) % HitKeys
			if err := t.get(keys[i], now.Before(t.counts)); err != nil {
				return err
			}
		}
	}
}

func (t *traffic) get(key string, isWarmUp bool) error {
	loads := t.loads.Load()
	begin := time.Now()
	_, err := t.cache.Get(t.ctx, key)
	took := time.Since(begin)
	isHit := t.loads.Load() == loads
	start := time.Now()
	empty := time.Since(start)
	switch {
	case err != nil || isWarmUp:
	case isHit:
		record(t.hits, took)
		record(t.clock, empty)
	default:
		t.misses++
	}
	return err
}

// write calls Invalidate, and counts its failure. A call with a schedule counts by when it was due, which is before end, and one
// without by when it has returned.
func (t *traffic) write(_ int, due time.Time) error {
	n := int(t.calls.Add(1))
	key := "other " + keyOf(n%otherKeys)
	if t.Shared > 0 && n%t.Shared == 0 {
		key = keyOf(n / t.Shared % HitKeys)
	}
	err := t.cache.Invalidate(t.ctx, key)
	now := time.Now()
	counts := now.After(t.counts) && now.Before(t.end)
	if t.Rate > 0 {
		counts = !due.Before(t.counts)
	}
	switch {
	case err != nil:
		t.failures.Add(1)
	case counts:
		t.mu.Lock()
		record(t.writes, now.Sub(due))
		t.mu.Unlock()
	}
	if t.Rate == 0 {
		runtime.Gosched() // to the reader: a call that waits for nobody would keep the CPU
	}
	return nil
}
