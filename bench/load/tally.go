package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// tally counts. Times are from the start of the run.
type tally struct {
	Result
	epoch      time.Time
	begin, end time.Duration
	late       *hdrhistogram.Histogram
	workers    map[string]*work
	inTime     int64 // answers between begin and end
	first      time.Duration
	last       time.Duration
}

// work is what a worker has done.
type work struct{ requests, conns int64 }

func newTally(epoch time.Time, begin, end time.Duration) *tally {
	return &tally{
		Result: Result{Latency: newHistogram(), Failed: make(map[string]int64)},
		epoch:  epoch, begin: begin, end: end,
		late: newHistogram(), workers: make(map[string]*work), first: never,
	}
}

// counts tells whether a request counts that was due at a time.
func (t *tally) counts(due time.Duration) bool { return due >= t.begin && due < t.end }

// sent takes that a request was sent, and how late.
func (t *tally) sent(due, late time.Duration) {
	if t.counts(due) {
		record(t.late, late)
	}
}

func (t *tally) answered(due, now time.Duration, worker []byte, newConn bool) {
	if now >= t.begin && now < t.end {
		t.inTime++
	}
	if !t.counts(due) {
		return
	}
	t.Requests++
	record(t.Latency, now-due)
	t.first, t.last = min(t.first, due), now
	w := t.workers[string(worker)]
	if w == nil {
		w = new(work)
		t.workers[string(worker)] = w
	}
	w.requests++
	if newConn {
		w.conns++
	}
}

func (t *tally) failed(due time.Duration, kind string) {
	if t.counts(due) {
		t.Failed[kind]++
	}
}

func (t *tally) result() Result {
	r := t.Result
	r.Elapsed = t.end - t.begin
	r.Rate = float64(t.inTime) / r.Elapsed.Seconds()
	r.Late = time.Duration(t.late.ValueAtQuantile(99))
	if r.Requests > 0 {
		r.First, r.Last = t.epoch.Add(t.first), t.epoch.Add(t.last)
	}
	r.ByWorker, r.ConnsByWorker = make(map[string]int64), make(map[string]int64)
	for id, w := range t.workers {
		r.ByWorker[id], r.ConnsByWorker[id] = w.requests, w.conns
	}
	return r
}
