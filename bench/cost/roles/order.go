package roles

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Order is what a player is told to do.
type Order struct {
	Do       string
	Warm     time.Duration // that does not count, before Duration
	Duration time.Duration
	Senders  int
	Rate     float64 // of all senders together, a second; 0: each goes on when it can
	Shared   int     // every how many-th invalidation is of a key that is read; 0: none
	Keys     int     // how many to store; or how many fan-outs there are at most, with Warm, each of a key of its own; 0: no bound
	Flood    int     // sources of a flood beside round trips on the bus
	Bound    bool    // the flood has to meet the bound
	Peers    int     // how many are to join, or to leave
}

// What a player can do. The hits of each of four caches are orders, too.
const (
	RoundTrips = "round trips"
	FanOuts    = "fan-outs"
	OneWay     = "one way"
	Fill       = "store keys"
	ReadHits   = "read and write"
	Buy        = "buy"
	Joined     = "tell who has joined"
	Left       = "tell who has left"
)

// WarmUp is how much shorter the time is that does not count, with caches and clocks that others have left.
const WarmUp = 5

// For has the order last so long, after a time that does not count.
func (o Order) For(d time.Duration) Order {
	o.Warm, o.Duration = d/WarmUp, d
	return o
}

// repeat times exchange, one after the other. An empty measurement follows each that does not count.
func (o Order) repeat(exchange func() error) (r Result, err error) {
	most := int64(math.MaxInt64)
	if o.Keys > 0 {
		most = int64(o.Keys)
	}
	times, clock := newHistogram(), newHistogram()
	for end := time.Now().Add(o.Warm); time.Now().Before(end) && r.Uncounted < most/(WarmUp+1); r.Uncounted++ {
		if err := exchange(); err != nil {
			return r, err
		}
		start := time.Now()
		record(clock, time.Since(start))
	}
	begin := time.Now()
	for ; r.Elapsed < o.Duration && r.Requests+r.Uncounted < most; r.Requests++ {
		start := time.Now()
		if err := exchange(); err != nil {
			return r, err
		}
		record(times, time.Since(start))
		r.Elapsed = start.Sub(begin)
	}
	r.Elapsed = time.Since(begin)
	r.Latency, r.Clock = latencies(times), latencies(clock)
	return r, nil
}

// Result is the outcome of an order, or of a load.
type Result struct {
	Requests  int64
	Uncounted int64 // requests before them, to warm up
	Failures  int64
	Elapsed   time.Duration

	Latency               // of a request
	Clock   Latency       // of an empty measurement
	Began   time.Duration // when a process was there; Elapsed is when it had joined all
	Memory  float64       // of an idle process, in MiB
	CPU     time.Duration // of the server or the team, for all requests; filled in by the parent

	Cached
}

// Cached is the outcome where there is a cache.
type Cached struct {
	Misses, Writes int64
	Write          Latency // of the writes
	Conflicts      int64   // writes that came after another one, which reads as a miss does
	Allocations    int64   // while it was read
	Loaded         int     // how many of the keys to store were not there
	Lost           Loss    // by all processes
	Traffic        Traffic
}

// Latency is what a histogram shows.
type Latency struct{ P50, P99, P999, Max time.Duration }

func latencies(h *hdrhistogram.Histogram) Latency {
	at := func(percent float64) time.Duration { return time.Duration(h.ValueAtQuantile(percent)) }
	return Latency{P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max())}
}

// newHistogram holds 1 ns to 10 s, to 3 digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(longest), 3) }

const longest = 10 * time.Second

// record counts d as the nearest that a histogram holds.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(1, d), longest))) // in range
}
