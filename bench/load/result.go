package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Why a request has failed. Errors of the system that are none of these have their own names, as in EADDRNOTAVAIL.
const (
	Refused   = "refused"
	Reset     = "reset"
	EOF       = "eof" // the connection was closed before the answer was whole
	Timeout   = "timeout"
	Status    = "status" // it was not 2xx
	Malformed = "malformed"
	// NotSent is a request that was due, but not sent: too many others were in flight, or its connection was waiting for
	// an answer until the run had ended and Timeout was over, too.
	NotSent = "not sent"
)

// Result is what came of a load. It survives JSON. Of the requests, those count that were due after the warm-up and before
// the end; what is in flight then is waited for.
type Result struct {
	Requests int64            // that were answered with 2xx, at whatever time
	Failed   map[string]int64 // the others, by kind
	Retried  int64            // were sent again on a new connection, because their first one had been closed; also in the warm-up
	Latency  Histogram        // of Requests

	Rate    float64       // answers with 2xx a second, between warm-up and end
	Elapsed time.Duration // between warm-up and end

	Connections   int64            // that were made, also in the warm-up
	ByWorker      map[string]int64 // Requests; "" did not say who it is
	ConnsByWorker map[string]int64 // connections that have carried one of Requests, by who answered their first

	Late time.Duration // p99 of how far the generator itself was behind: from when a request could be sent to when it was
	CPU  time.Duration // that the generator took after the warm-up; near Elapsed, it was itself the limit

	Lost []Failure // the first 200,000 that have failed, of a plan that is Strict
}

// Failure is a request that has failed. Its times are those of Now.
type Failure struct {
	Kind                  string // as in Result.Failed
	Error                 string
	Local                 string        // address of the client; empty: it was not connected
	PID                   int           // of who has answered on the connection before, or has accepted it by a Ledger; 0: not known
	Opened, Begun, Failed time.Duration // the connection, and the request
}

// Quantile returns the latency that percent of the answers had at most.
func (r Result) Quantile(percent float64) time.Duration { return r.Latency.Quantile(percent) }

// Failures returns how many requests have failed.
func (r Result) Failures() (n int64) {
	for _, count := range r.Failed {
		n += count
	}
	return n
}

// Histogram is one of times from 1 us to 60 s, to 3 digits; as text in HdrHistogram's own compressed format, which its tools
// read, too.
type Histogram struct{ *hdrhistogram.Histogram }

// MarshalText implements encoding.TextMarshaler.
func (h Histogram) MarshalText() ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Histogram) UnmarshalText(text []byte) (err error) {
	h.Histogram, err = hdrhistogram.Decode(text)
	return err
}

// NewHistogram returns an empty one.
func NewHistogram() Histogram { return Histogram{hdrhistogram.New(minLatency, maxLatency, 3)} }

const (
	minLatency = int64(time.Microsecond)
	maxLatency = int64(time.Minute)
)

// Record counts n times d, as the nearest that h holds.
func (h Histogram) Record(d time.Duration, n int64) {
	_ = h.RecordValues(min(max(int64(d), minLatency), maxLatency), n) // always in its range
}

// Quantile returns what percent of the times are at most.
func (h Histogram) Quantile(percent float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(percent))
}

// tally counts. Times are from the start of the run.
type tally struct {
	Result
	begin, end time.Duration
	late       Histogram
	workers    map[string]*work
	inTime     int64 // answers between begin and end
}

// work is what a worker has done.
type work struct{ requests, conns int64 }

func newTally(begin, end time.Duration) *tally {
	return &tally{
		Result: Result{Latency: NewHistogram(), Failed: make(map[string]int64)},
		begin:  begin, end: end, late: NewHistogram(), workers: make(map[string]*work),
	}
}

// counts tells whether a request counts that was due at a time.
func (t *tally) counts(due time.Duration) bool { return due >= t.begin && due < t.end }

// sent takes that a request was sent, and how late.
func (t *tally) sent(due, late time.Duration) {
	if t.counts(due) {
		t.late.Record(late, 1)
	}
}

func (t *tally) answered(due, now time.Duration, worker []byte, newConn bool) {
	if t.counts(now) {
		t.inTime++
	}
	if !t.counts(due) {
		return
	}
	t.Requests++
	t.Latency.Record(now-due, 1)
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
	r.Late = t.late.Quantile(99)
	r.ByWorker, r.ConnsByWorker = make(map[string]int64), make(map[string]int64)
	for id, w := range t.workers {
		r.ByWorker[id], r.ConnsByWorker[id] = w.requests, w.conns
	}
	return r
}
