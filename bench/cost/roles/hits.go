package roles

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/multinode-go/multinode/peer/bus"
)

const (
	// hitKeys is the number of keys that each node reads, and otherKeys the number of keys without a reader.
	hitKeys, otherKeys = 1000, 100_000
	// ReadBurst is how many values a node reads each readPause, which leaves most of the CPUs to others.
	ReadBurst = 100
	readPause = time.Millisecond
	// writeBurst is how many invalidations are due at once.
	writeBurst = 25
)

// What is timed: a Get, nothing, and an Invalidate.
const (
	ofHit = iota
	ofNothing
	ofWrite
	timed
)

// hits counts the reads and writes of a node.
type hits struct {
	Times            [timed][]byte // in HdrHistogram's own format
	Misses, Failures int64
}

// HitResult is what the nodes have seen together.
type HitResult struct {
	P999             time.Duration
	Clock50, Clock99 time.Duration // of an empty measurement
	Misses           int64
	Writes           int64
	Write50, Write99 time.Duration
}

// newHistogram holds 1 ns to 10 s, to 3 digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 10e9, 3) }

// traffic is a node that reads and writes.
type traffic struct {
	node   *cacheNode
	order  Order
	counts time.Time // from when on it counts
	end    time.Time

	times    [timed]*hdrhistogram.Histogram // those of the reader, and that of the writers, guarded by mu
	misses   int64                          // the reader's
	calls    atomic.Int64
	failures atomic.Int64
	mu       sync.Mutex
}

func (n *cacheNode) traffic(ctx context.Context, o Order) (h hits, err error) {
	now := time.Now()
	t := &traffic{node: n, order: o, counts: now.Add(o.Warm), end: now.Add(o.Warm + o.Duration)}
	for i := range t.times {
		t.times[i] = newHistogram()
	}
	p := pace{senders: o.Senders, begin: now, end: t.end, burst: writeBurst}
	if o.Rate > 0 {
		p.next = evenly(o.Rate, writeBurst)
	}
	var writing sync.WaitGroup
	writing.Go(func() { _ = p.run(func(_ int, due time.Time) error { t.write(ctx, due); return nil }) }) // counts failures
	err = t.read(ctx)
	writing.Wait()
	h.Misses, h.Failures = t.misses, t.failures.Load()
	for i, times := range t.times {
		var failed error
		h.Times[i], failed = times.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		err = errors.Join(err, failed)
	}
	return h, err
}

// read is one goroutine, so what is loaded while it waits for a value is that value.
func (t *traffic) read(ctx context.Context) error {
	keys := keysTo(hitKeys)
	clock := time.NewTicker(readPause)
	defer clock.Stop()
	for i := 0; ; {
		now := <-clock.C
		if now.After(t.end) {
			return nil
		}
		for range ReadBurst {
			i = (i + 1) % hitKeys
			if err := t.get(ctx, keys[i], now.Before(t.counts)); err != nil {
				return err
			}
		}
	}
}

func (t *traffic) get(ctx context.Context, key string, isWarmUp bool) error {
	loads := t.node.loads.Load()
	begin := time.Now()
	_, err := t.node.cache.Get(ctx, key)
	took := time.Since(begin)
	isHit := t.node.loads.Load() == loads
	start := time.Now()
	empty := time.Since(start)
	switch {
	case err != nil || isWarmUp:
	case isHit:
		_, _ = t.times[ofHit].RecordValue(max(1, int64(took))), t.times[ofNothing].RecordValue(max(1, int64(empty))) // in range: both
	default:
		t.misses++
	}
	return err
}

// write calls Invalidate. A call with a schedule counts by when it was due, which is before end, and one without by when it has
// returned.
func (t *traffic) write(ctx context.Context, due time.Time) {
	n := int(t.calls.Add(1))
	key := "other " + keyOf(n%otherKeys)
	if t.order.Shared > 0 && n%t.order.Shared == 0 {
		key = keyOf(n / t.order.Shared % hitKeys)
	}
	err := t.node.cache.Invalidate(ctx, key)
	now := time.Now()
	counts := now.After(t.counts) && now.Before(t.end)
	if t.order.Rate > 0 {
		counts = !due.Before(t.counts)
	}
	switch {
	case err != nil:
		t.failures.Add(1)
	case counts:
		t.count(now.Sub(due))
	}
	if t.order.Rate == 0 {
		runtime.Gosched() // to the reader: a call that waits for nobody would keep the CPU
	}
}

func (t *traffic) count(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.times[ofWrite].RecordValue(took.Nanoseconds()) // in range
}

func (n *cacheNode) trafficOnBus(ctx context.Context, m bus.Message) (any, error) {
	var o Order
	if err := json.Unmarshal(m.Data, &o); err != nil {
		return nil, err
	}
	return n.traffic(ctx, o)
}

// readAndWrite has all nodes read and write at the same time.
func (l *cacheLeader) readAndWrite(o Order) (r Result, err error) {
	if err := l.fillAll(hitKeys); err != nil {
		return r, err
	}
	var answers []bus.Answer
	var failed error
	var asking sync.WaitGroup
	asking.Go(func() { answers, failed = l.RequestAll(l.ctx, topicHits, o) })
	own, err := l.node.traffic(l.ctx, o)
	asking.Wait()
	if err := errors.Join(err, failed); err != nil {
		return r, err
	}
	all := []hits{own}
	for _, a := range answers {
		var h hits
		if err := json.Unmarshal(a.Data, &h); err != nil {
			return r, err
		}
		all = append(all, h)
	}
	return merge(all, o.Duration)
}

func merge(all []hits, d time.Duration) (r Result, err error) {
	var times [timed]*hdrhistogram.Histogram
	for i := range times {
		times[i] = newHistogram()
		for _, h := range all {
			part, err := hdrhistogram.Decode(h.Times[i])
			if err != nil {
				return r, err
			}
			times[i].Merge(part)
		}
	}
	for _, h := range all {
		r.Hits.Misses += h.Misses
		r.Failures += h.Failures
	}
	at := func(of int, percent float64) time.Duration { return time.Duration(times[of].ValueAtQuantile(percent)) }
	r.Requests, r.Elapsed = times[ofHit].TotalCount(), d
	r.P50, r.P99, r.Hits.P999 = at(ofHit, 50), at(ofHit, 99), at(ofHit, 99.9)
	r.Hits.Clock50, r.Hits.Clock99 = at(ofNothing, 50), at(ofNothing, 99)
	r.Hits.Writes, r.Hits.Write50, r.Hits.Write99 = times[ofWrite].TotalCount(), at(ofWrite, 50), at(ofWrite, 99)
	return r, nil
}
