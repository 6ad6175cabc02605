package roles

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Order is what a leader is told to do.
type Order struct {
	Do       string
	Warm     time.Duration // that does not count, before Duration
	Duration time.Duration
	Senders  int
	Rate     float64 // of all senders together, a second; 0: each goes on when it can
	Shared   int     // every how many-th invalidation is of a key that is read; 0: none
	Of       string  // whose hits
	Keys     int     // how many fan-outs there are at most, with Warm, each of a key of its own; 0: as many as there is time for
}

// What a leader can do.
const (
	Prepare    = "prepare"
	RoundTrips = "round trips"
	FanOuts    = "fan-outs"
	OneWay     = "one way"
	Hit        = "hit"
	ReadHits   = "read and write"
	FloodOn    = "start a flood"
	FloodBound = "meet the bound"
	FloodOff   = "end a flood"
)

// WarmUp is how much shorter the time is that does not count, with caches and clocks that others have left.
const WarmUp = 5

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
		if err := recordSince(clock, start); err != nil {
			return r, err
		}
	}
	begin := time.Now()
	for ; r.Elapsed < o.Duration && r.Requests+r.Uncounted < most; r.Requests++ {
		start := time.Now()
		if err := exchange(); err != nil {
			return r, err
		}
		if err := recordSince(times, start); err != nil {
			return r, err
		}
		r.Elapsed = start.Sub(begin)
	}
	r.Elapsed = time.Since(begin)
	r.P50, r.P99 = time.Duration(times.ValueAtQuantile(50)), time.Duration(times.ValueAtQuantile(99))
	r.Max, r.Clock = time.Duration(times.Max()), time.Duration(clock.ValueAtQuantile(50))
	return r, nil
}

// recordSince looks at the clock first.
func recordSince(times *hdrhistogram.Histogram, start time.Time) error {
	return times.RecordValue(max(1, time.Since(start).Nanoseconds()))
}

// pour sends as fast as it goes, and counts what has arrived. The time ends when the last has.
func (o Order) pour(connect func() (link, error)) (r Result, err error) {
	warm, err := o.pourFor(o.Warm, connect)
	if err != nil {
		return r, err
	}
	r, err = o.pourFor(o.Duration, connect)
	r.Uncounted = warm.Requests
	return r, err
}

func (o Order) pourFor(d time.Duration, connect func() (link, error)) (r Result, err error) {
	out, err := connect()
	if err != nil {
		return r, err
	}
	var sent atomic.Int64
	var senders sync.WaitGroup
	failures := make([]error, o.Senders)
	begin := time.Now()
	for i := range o.Senders {
		senders.Go(func() {
			n, err := out.sendUntil(begin.Add(d))
			sent.Add(n)
			failures[i] = err
		})
	}
	senders.Wait()
	arrived, err := out.finish()
	r.Requests, r.Elapsed = arrived, time.Since(begin)
	if err = errors.Join(errors.Join(failures...), err); err == nil && arrived != sent.Load() {
		err = fmt.Errorf("%d of %d messages have arrived", arrived, sent.Load())
	}
	return r, err
}

// sendUntil looks at the clock only after so many messages, since that takes as long as some of them. It sends them at
// least once, however late it comes.
func (l link) sendUntil(end time.Time) (sent int64, err error) {
	const messages = 256
	for {
		for range messages {
			if err := l.send(); err != nil {
				return sent, err
			}
			sent++
		}
		if !time.Now().Before(end) {
			return sent, nil
		}
	}
}
