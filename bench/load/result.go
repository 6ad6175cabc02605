package load

import (
	"encoding/json"
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
	Requests int64                   // that were answered with 2xx, at whatever time
	Failed   map[string]int64        // the others, by kind
	Retried  int64                   // were sent again on a new connection, because their first one had been closed; also in the warm-up
	Latency  *hdrhistogram.Histogram // of Requests in nanoseconds, from 1 us to 60 s, to 3 digits

	Rate    float64       // answers with 2xx a second, between warm-up and end
	Elapsed time.Duration // between warm-up and end

	Connections   int64            // that were made, also in the warm-up
	ByWorker      map[string]int64 // Requests; "" did not say who it is
	ConnsByWorker map[string]int64 // connections that have carried one of Requests, by who answered their first

	Late time.Duration // p99 of how far the generator itself was behind: from when a request could be sent to when it was
	CPU  time.Duration // that the generator took after the warm-up; near Elapsed, it was itself the limit

	Lost []Failure // the first 200,000 that have failed, of a plan that is Strict

	First time.Time // when the first of Requests was due
	Last  time.Time // when the last one was answered
}

// Failure is a request that has failed. Its times are those of Now.
type Failure struct {
	Kind                  string // as in Result.Failed
	Error                 string
	Local                 string        // address of the client; empty: it was not connected
	PID                   int           // of who has answered on the connection before, or has accepted it by a Ledger; 0: not known
	Opened, Begun, Failed time.Duration // the connection, and the request
}

// newHistogram holds 1 us to 60 s in nanoseconds, to 3 digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(minLatency, maxLatency, 3) }

const (
	minLatency = int64(time.Microsecond)
	maxLatency = int64(time.Minute)
)

// record counts d as the nearest that the histogram holds.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), minLatency), maxLatency)) // always in its range
}

// Quantile returns the latency that percent of the answers had at most.
func (r Result) Quantile(percent float64) time.Duration {
	return time.Duration(r.Latency.ValueAtQuantile(percent))
}

// Failures returns how many requests have failed.
func (r Result) Failures() (n int64) {
	for _, count := range r.Failed {
		n += count
	}
	return n
}

// plain is Result without its methods.
type plain Result

// wire is Result as JSON: the histogram is in HdrHistogram's own compressed format, which its tools read, too.
type wire struct {
	plain
	Latency []byte
}

// MarshalJSON implements json.Marshaler.
func (r Result) MarshalJSON() ([]byte, error) {
	w := wire{plain: plain(r)}
	if r.Latency != nil {
		var err error
		if w.Latency, err = r.Latency.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err != nil {
			return nil, err
		}
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Result) UnmarshalJSON(text []byte) (err error) {
	var w wire
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	*r = Result(w.plain)
	if w.Latency != nil {
		r.Latency, err = hdrhistogram.Decode(w.Latency)
	}
	return err
}
