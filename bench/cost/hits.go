package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/multinode-go/multinode/peer/bus"
)

const (
	// topicHits asks a peer to read, and to write, as an order says. It answers with hits.
	topicHits = "hits"
	// hitNodes is how many nodes read and write.
	hitNodes = 4
	// hitKeys is how many keys each node reads, and otherKeys how many there are that nobody reads.
	hitKeys, otherKeys = 1000, 100_000
	// A node reads readBurst values each readPause, which leaves most of the CPUs to others.
	readBurst = 100
	readPause = time.Millisecond
	// writeRate is how many invalidations a second are due in each node, and writeBurst how many at once.
	writeRate, writeBurst = 25_000, 25
	// writeCallers is how many goroutines of a node call Invalidate.
	writeCallers = 512
	// sharedEach is for every how many-th invalidation to be of a key that is read.
	sharedEach = 100
	// hitSlices is how much longer than a slice the hits are measured: the slowest of a thousand has to be seen.
	hitSlices = 3
)

// hits is what the readers and writers of a node have seen. Its histograms are in HdrHistogram's own format.
type hits struct {
	Hits, Clock, Writes []byte // the time of a Get, of none, and of an Invalidate
	Misses, Failures    int64
}

// hitResult is what the nodes have seen together.
type hitResult struct {
	P999             time.Duration
	Clock50, Clock99 time.Duration // of an empty measurement
	Misses           int64
	Writes           int64
	Write50, Write99 time.Duration
}

// newFineHistogram holds 1 ns to 10 s, to 3 digits.
func newFineHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 10e9, 3) }

func encodeHistogram(h *hdrhistogram.Histogram) ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// traffic is a node that reads and writes.
type traffic struct {
	node   *cacheNode
	order  order
	begin  time.Time
	counts time.Time // from when on it counts
	end    time.Time

	times, clock *hdrhistogram.Histogram // the reader's
	misses       int64                   // the reader's

	failures atomic.Int64
	mu       sync.Mutex
	writes   *hdrhistogram.Histogram // guarded by mu
}

func (n *cacheNode) traffic(ctx context.Context, o order) (h hits, err error) {
	now := time.Now()
	t := &traffic{
		node: n, order: o, begin: now, counts: now.Add(o.Warm), end: now.Add(o.Warm + o.Duration),
		times: newFineHistogram(), clock: newFineHistogram(), writes: newFineHistogram(),
	}
	var writing sync.WaitGroup
	writing.Go(func() { t.write(ctx) })
	err = t.read(ctx)
	writing.Wait()
	h.Misses, h.Failures = t.misses, t.failures.Load()
	for _, one := range []struct {
		from *hdrhistogram.Histogram
		to   *[]byte
	}{{t.times, &h.Hits}, {t.clock, &h.Clock}, {t.writes, &h.Writes}} {
		var failed error
		*one.to, failed = encodeHistogram(one.from)
		err = errors.Join(err, failed)
	}
	return h, err
}

// read is one goroutine, so what is loaded while it waits for a value is that value.
func (t *traffic) read(ctx context.Context) error {
	keys := make([]string, hitKeys)
	for i := range keys {
		keys[i] = keyOf(i)
	}
	clock := time.NewTicker(readPause)
	defer clock.Stop()
	for i := 0; ; {
		now := <-clock.C
		if now.After(t.end) {
			return nil
		}
		for range readBurst {
			i = (i + 1) % hitKeys
			took, isHit, err := t.node.timeGet(ctx, keys[i])
			if err != nil {
				return err
			}
			start := time.Now()
			empty := time.Since(start)
			switch {
			case now.Before(t.counts):
			case isHit:
				_, _ = t.times.RecordValue(max(1, int64(took))), t.clock.RecordValue(max(1, int64(empty))) // in range: both
			default:
				t.misses++
			}
		}
	}
}

func (n *cacheNode) timeGet(ctx context.Context, key string) (took time.Duration, isHit bool, err error) {
	loads := n.loads.Load()
	begin := time.Now()
	_, err = n.cache.Get(ctx, key)
	took = time.Since(begin)
	return took, n.loads.Load() == loads, err
}

// write calls Invalidate from as many goroutines as the order has senders.
func (t *traffic) write(ctx context.Context) {
	due := make(chan time.Time, t.order.Senders)
	var calling sync.WaitGroup
	var number atomic.Int64
	for range t.order.Senders {
		calling.Go(func() { t.call(ctx, due, &number) })
	}
	if t.order.Rate > 0 {
		schedule(due, t.order.Rate, writeBurst, t.begin, t.end)
	}
	close(due)
	calling.Wait()
}

// call takes times until there are no more; without a rate, a call is due when the last one has returned.
func (t *traffic) call(ctx context.Context, due <-chan time.Time, number *atomic.Int64) {
	for {
		at, ok := <-due
		if !ok {
			if at = time.Now(); t.order.Rate > 0 || at.After(t.end) {
				return
			}
		}
		n := int(number.Add(1))
		key := "other " + keyOf(n%otherKeys)
		if t.order.Shared > 0 && n%t.order.Shared == 0 {
			key = keyOf(n / t.order.Shared % hitKeys)
		}
		err := t.node.cache.Invalidate(ctx, key)
		now := time.Now()
		counts := now.After(t.counts) && now.Before(t.end)
		if t.order.Rate > 0 {
			counts = !at.Before(t.counts) // each was due before end
		}
		switch {
		case err != nil:
			t.failures.Add(1)
		case counts:
			t.count(now.Sub(at))
		}
		if t.order.Rate == 0 {
			runtime.Gosched() // to the reader: a call that waits for nobody would keep the CPU
		}
	}
}

func (t *traffic) count(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.writes.RecordValue(took.Nanoseconds()) // in range
}

// schedule sends the time of each call that is due before end, so many at once. Who receives too late is told the time at
// which it was due, even after end.
func schedule(due chan<- time.Time, rate float64, burst int, begin, end time.Time) {
	step := time.Duration(float64(burst) / rate * float64(time.Second))
	for at := begin; at.Before(end); at = at.Add(step) {
		time.Sleep(time.Until(at))
		for range burst {
			due <- at
		}
	}
}

func (n *cacheNode) trafficOnBus(ctx context.Context, m bus.Message) (any, error) {
	var o order
	if err := json.Unmarshal(m.Data, &o); err != nil {
		return nil, err
	}
	return n.traffic(ctx, o)
}

// readAndWrite has all nodes read and write at the same time.
func (l *cacheLeader) readAndWrite(o order) (r result, err error) {
	if _, err := l.fillAll(hitKeys); err != nil {
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

func merge(all []hits, d time.Duration) (r result, err error) {
	times, clock, writes := newFineHistogram(), newFineHistogram(), newFineHistogram()
	for _, h := range all {
		for _, one := range []struct {
			from []byte
			to   *hdrhistogram.Histogram
		}{{h.Hits, times}, {h.Clock, clock}, {h.Writes, writes}} {
			part, err := hdrhistogram.Decode(one.from)
			if err != nil {
				return r, err
			}
			one.to.Merge(part)
		}
		r.Hits.Misses += h.Misses
		r.Failures += h.Failures
	}
	at := func(h *hdrhistogram.Histogram, percent float64) time.Duration {
		return time.Duration(h.ValueAtQuantile(percent))
	}
	r.Requests, r.Elapsed = times.TotalCount(), d
	r.P50, r.P99, r.Max, r.Hits.P999 = at(times, 50), at(times, 99), time.Duration(times.Max()), at(times, 99.9)
	r.Hits.Clock50, r.Hits.Clock99 = at(clock, 50), at(clock, 99)
	r.Hits.Writes, r.Hits.Write50, r.Hits.Write99 = writes.TotalCount(), at(writes, 50), at(writes, 99)
	return r, nil
}

// load is what the writers of a table do.
var hitLoads = []struct {
	name  string
	order order
}{
	{"quiet", order{}},
	{"keys that nobody reads", order{Rate: writeRate, Senders: writeCallers}},
	{fmt.Sprintf("1 of %d is read", sharedEach), order{Rate: writeRate, Senders: writeCallers, Shared: sharedEach}},
	{"as many as it can", order{Senders: writeCallers}},
}

// measureHits asks how long a hit takes while others invalidate, for the cache with shared memory and without.
func measureHits(ctx context.Context, c config, w io.Writer) (err error) {
	var ways []*way
	defer func() {
		for _, y := range ways {
			err = errors.Join(err, y.team.stop())
		}
	}()
	for _, name := range []string{cacheName, cacheMessages} {
		t, err := c.startTeam(player{System: name, Peers: hitNodes - 1}, c.gomaxprocs[0])
		if err != nil {
			return err
		}
		ways = append(ways, &way{t, make([][]result, len(hitLoads))})
	}
	for round := range c.rounds + 1 { // the first does not count
		for _, y := range turns(ways, round) {
			if err := y.measure(ctx, c, round); err != nil {
				return err
			}
		}
	}
	for _, y := range ways {
		table(w, fmt.Sprintf("%s: hits of %d nodes, each %d a ms, while each also invalidates, %d a second in sum, GOMAXPROCS %d, ns",
			y.team.system, hitNodes, readBurst, hitNodes*c.writeRate, c.gomaxprocs[0]), hitRows(y.results)...)
		table(w, y.team.system+": the invalidations, us", writeRows(y.results)...)
	}
	return nil
}

// way is a team, and what it has seen of each load.
type way struct {
	team    *team
	results [][]result
}

// measure goes through all loads.
func (y *way) measure(ctx context.Context, c config, round int) error {
	for _, i := range turns([]int{0, 1, 2, 3}, round) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o := hitLoads[i].order
		o.Rate = min(o.Rate, float64(c.writeRate))
		o.Do, o.Duration, o.Warm = readHits, hitSlices*c.slice, hitSlices*c.slice/warmUp
		r, err := y.team.ask(o)
		if err != nil {
			return err
		}
		if round > 0 {
			y.results[i] = append(y.results[i], r)
		}
	}
	return nil
}

func figures(results []result, figure func(result) float64) []float64 {
	return (&team{results: results}).figures(figure)
}

func nanoseconds(of func(result) time.Duration) func(result) float64 {
	return func(r result) float64 { return float64(of(r)) }
}

func hitRows(results [][]result) [][]string {
	rows := [][]string{{"", "hits/s", "misses", "clock p50", "clock p99", "p50", "p99", "p99.9", "p99 to quiet", "quartiles"}}
	for i, of := range results {
		ratio := (&team{results: of}).ratios(&team{results: results[0]}, p99)
		row := []string{hitLoads[i].name, fmt.Sprintf("%.0f", median(figures(of, result.perSecond))), fmt.Sprintf("%.2f %%", median(figures(of, func(r result) float64 {
			return 100 * float64(r.Hits.Misses) / float64(r.Requests+r.Hits.Misses)
		})))}
		for _, figure := range []func(result) time.Duration{
			func(r result) time.Duration { return r.Hits.Clock50 }, func(r result) time.Duration { return r.Hits.Clock99 },
			func(r result) time.Duration { return r.P50 }, func(r result) time.Duration { return r.P99 },
			func(r result) time.Duration { return r.Hits.P999 },
		} {
			row = append(row, fmt.Sprintf("%.0f", median(figures(of, nanoseconds(figure)))))
		}
		rows = append(rows, append(row, fmt.Sprintf("%.3f", median(ratio)), spread(ratio)))
	}
	return rows
}

func writeRows(results [][]result) [][]string {
	rows := [][]string{{"", "calls/s", "quartiles", "failed", "p50", "p99", "CPUs of all nodes"}}
	for i, of := range results[1:] {
		rate := figures(of, func(r result) float64 { return float64(r.Hits.Writes) / r.Elapsed.Seconds() })
		var failed int64
		for _, r := range of {
			failed += r.Failures
		}
		rows = append(rows, []string{
			hitLoads[i+1].name, fmt.Sprintf("%.0f", median(rate)), spreadTo(0, rate), fmt.Sprint(failed),
			digits(0, median(figures(of, nanoseconds(func(r result) time.Duration { return r.Hits.Write50 })))/1e3),
			digits(0, median(figures(of, nanoseconds(func(r result) time.Duration { return r.Hits.Write99 })))/1e3),
			fmt.Sprintf("%.2f", median(figures(of, func(r result) float64 { return r.CPU.Seconds() / (r.Elapsed.Seconds() * (1 + 1.0/warmUp)) }))),
		})
	}
	return rows
}
