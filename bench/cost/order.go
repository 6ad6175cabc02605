package cost

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// order is what a leader is told to do.
type order struct {
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
	prepare    = "prepare"
	roundTrips = "round trips"
	fanOuts    = "fan-outs"
	oneWay     = "one way"
	hitOnly    = "hit"
	readHits   = "read and write"
	floodOn    = "start a flood"
	floodBound = "meet the bound"
	floodOff   = "end a flood"
)

// manySenders is how many goroutines send at a time where many do.
const manySenders = 16

func (o order) carryOut(l leader) (result, error) {
	switch o.Do {
	case prepare:
		if p, ok := l.(preparer); ok {
			lost, err := p.prepare(o.Keys)
			return result{Lost: lost}, err
		}
		return result{}, nil
	case fanOuts:
		return o.repeat(l.fanOut)
	}
	if m, ok := l.(messenger); ok {
		switch o.Do {
		case roundTrips:
			return o.repeat(m.roundTrip)
		case oneWay:
			return o.pour(m)
		}
	}
	if c, ok := l.(*cacheLeader); ok {
		switch o.Do {
		case hitOnly:
			return c.hit(o)
		case readHits:
			return c.readAndWrite(o)
		}
	}
	f, ok := l.(flooder)
	switch {
	case o.Do == floodOn && ok:
		f.startFlood(o.Senders)
		return result{}, nil
	case o.Do == floodBound && ok:
		return result{}, f.awaitBound(o.Duration)
	case o.Do == floodOff && ok:
		return result{}, f.endFlood()
	default:
		return result{}, errors.New("nobody here can do that")
	}
}

// repeat times exchange, one after the other. An empty measurement follows each that does not count.
func (o order) repeat(exchange func() error) (r result, err error) {
	most := int64(math.MaxInt64)
	if o.Keys > 0 {
		most = int64(o.Keys)
	}
	times, clock := newFineHistogram(), newFineHistogram()
	for end := time.Now().Add(o.Warm); time.Now().Before(end) && r.Uncounted < most/(warmUp+1); r.Uncounted++ {
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
func (o order) pour(l messenger) (r result, err error) {
	warm, err := o.pourFor(l, o.Warm)
	if err != nil {
		return r, err
	}
	r, err = o.pourFor(l, o.Duration)
	r.Uncounted = warm.Requests
	return r, err
}

func (o order) pourFor(l messenger, d time.Duration) (r result, err error) {
	out, err := l.link()
	if err != nil {
		return r, err
	}
	var mu sync.Mutex // guards sent and failure
	var sent int64
	var failure error
	var senders sync.WaitGroup
	begin := time.Now()
	for range o.Senders {
		senders.Go(func() {
			n, err := sendUntil(out, begin.Add(d))
			mu.Lock()
			defer mu.Unlock()
			sent += n
			failure = errors.Join(failure, err)
		})
	}
	senders.Wait()
	arrived, err := out.finish()
	r.Requests, r.Elapsed = arrived, time.Since(begin)
	if err = errors.Join(failure, err); err == nil && arrived != sent {
		err = fmt.Errorf("%d of %d messages have arrived", arrived, sent)
	}
	return r, err
}

// sendUntil looks at the clock only after so many messages, since that takes as long as some of them. It sends them at
// least once, however late it comes.
func sendUntil(out link, end time.Time) (sent int64, err error) {
	const messages = 256
	for {
		for range messages {
			if err := out.send(); err != nil {
				return sent, err
			}
			sent++
		}
		if !time.Now().Before(end) {
			return sent, nil
		}
	}
}
