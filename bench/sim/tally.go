package sim

import (
	"errors"
	"slices"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/multinode-go/multinode/bench/report"
)

// tally counts what is measured in one replication.
type tally struct {
	requests   int
	response   float64 // sum
	slowdown   float64 // sum
	longest    float64
	overloaded int // requests that came to a worker with more to do than it can
	times      *hdr.Histogram

	windows    int
	jain, peak float64 // sums over windows
	before     []float64
}

// The histogram is exact to 3 digits from 1/1000 of a mean demand on.
const (
	ticks     = 1000
	mostTicks = 1e12
)

func newTally(workers int) *tally {
	return &tally{times: hdr.New(1, mostTicks, 3), before: make([]float64, workers)}
}

// add counts a request that is done.
func (t *tally) add(demand, response float64) {
	t.requests++
	t.response += response
	t.slowdown += response / demand
	t.longest = max(t.longest, response)
	_ = t.times.RecordValue(int64(min(response*ticks+0.5, mostTicks))) // it is in range
}

// elapsed returns how long each worker was busy since it was called last.
func (t *tally) elapsed(crew []worker, now float64) []float64 {
	busy := make([]float64, len(crew))
	for i := range crew {
		crew[i].advance(now)
		busy[i] = crew[i].busy - t.before[i]
		t.before[i] = crew[i].busy
	}
	return busy
}

// window ends a window, and counts how evenly the workers were busy in it: Jain's index, which is 1 if all were so
// equally, and 1/N if one did everything; and the busiest one's time as a multiple of their mean.
func (t *tally) window(crew []worker, now float64) {
	busy := t.elapsed(crew, now)
	if slices.Max(busy) == 0 {
		return
	}
	t.windows++
	t.jain += report.Jain(busy)
	t.peak += report.MaxMean(busy)
}

// figures are what a replication has measured.
func (t *tally) figures() (map[Metric]float64, error) {
	if t.requests == 0 || t.windows == 0 {
		return nil, errors.New("sim: nothing happened in the time that counts: it takes a longer duration")
	}
	n, windows := float64(t.requests), float64(t.windows)
	quantile := func(percent float64) float64 { return float64(t.times.ValueAtPercentile(percent)) / ticks }
	return map[Metric]float64{
		Response: t.response / n, Slowdown: t.slowdown / n,
		P50: quantile(50), P99: quantile(99), P999: quantile(99.9), Max: t.longest,
		Jain: t.jain / windows, Peak: t.peak / windows, Overloaded: float64(t.overloaded) / n,
	}, nil
}
