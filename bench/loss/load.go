//go:build linux

package loss

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/multinode-go/multinode/bench/internal/child"
	generator "github.com/multinode-go/multinode/bench/load"
)

// load is what a load process is told: some clients in a closed loop, until its standard input ends.
type load struct {
	Addrs     []string // client i uses i modulo their number
	Clients   int
	KeepAlive bool          // else each request has a new connection
	Think     time.Duration // between two requests of a client
	Timeout   time.Duration // of a request, with its connect; 0: requestTimeout
	Ledger    string        // file that says who has accepted; "": nobody asks
}

const (
	// requestTimeout is longer than two lost SYNs, and than a worker that hangs has to live, on a slow machine too.
	requestTimeout = 2 * time.Minute
	// lateAfter is what no request takes unless the kernel has dropped its SYN, which is sent again after a second.
	lateAfter = 900 * time.Millisecond
	// maxFailed is how many failures are told one by one.
	maxFailed = 200_000
)

// tally is what a load process answers, as JSON in a line: in short while it runs, and all of it at its end.
type tally struct {
	Requests    int64
	Connections int64
	Failures    map[string]int64 // by kind
	Late        int64            // answered, after lateAfter
	P50, P99    time.Duration
	Max         time.Duration
	Elapsed     time.Duration
	Failed      []failed
	ByPID       map[int]int64 // answers
}

func (t tally) failures() (n int64) {
	for _, count := range t.Failures {
		n += count
	}
	return n
}

// failed is a request that has failed.
type failed struct {
	Kind       string
	Error      string
	Local      string        // address of the client; empty: it was not connected
	PID        int           // of who has accepted the connection, as far as it is known
	Start, End time.Duration // of the clock that all processes share
}

// plan has no request sent again, and a reset end each connection: the client has all that it wants, and would run out of
// ports.
func (l load) plan() generator.Plan {
	p := generator.Plan{
		Addrs: l.Addrs, Connections: l.Clients, KeepAlive: l.KeepAlive, Think: l.Think, Timeout: l.Timeout,
		Private: true, Strict: true, Reset: true, Endless: true,
	}
	if p.Timeout == 0 {
		p.Timeout = requestTimeout
	}
	return p
}

// runLoad is the load process.
func runLoad() error {
	var l load
	if err := child.Task(&l); err != nil {
		return err
	}
	var book *ledger
	if l.Ledger != "" {
		var err error
		if book, err = openLedger(l.Ledger); err != nil {
			return err
		}
		defer book.close()
	}
	stop := make(chan struct{})
	go func() { // ends with standard input
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	out := json.NewEncoder(os.Stdout)
	var all []failed
	result, err := generator.Generate(l.plan(), generator.Hooks{
		SoFar: func(answered, connections, failures int64) {
			_ = out.Encode(tally{ // who does not listen will miss the end, too
				Requests: answered + failures, Connections: connections, Failures: map[string]int64{"": failures},
			})
		},
		Failed: func(f generator.Failure) {
			if len(all) < maxFailed {
				all = append(all, book.explain(f))
			}
		},
		Stop: stop,
	})
	if err != nil {
		return err
	}
	fmt.Print("end ")
	return out.Encode(tallyOf(result, all))
}

// explain says who has accepted a connection whose server has not said it, if there is a ledger.
func (l *ledger) explain(f generator.Failure) failed {
	end := now()
	one := failed{Kind: f.Kind, Error: f.Error, Start: end - f.Took, End: end}
	one.PID, _ = strconv.Atoi(f.Worker) // 0: no worker has answered yet
	if !f.Local.IsValid() {
		return one
	}
	one.Local = f.Local.String()
	if one.PID == 0 && l != nil {
		one.PID = l.find(int(f.Local.Port()), !f.Local.Addr().Unmap().Is4(), end-f.Age)
	}
	return one
}

func tallyOf(r generator.Result, all []failed) tally {
	t := tally{
		Requests: r.Requests + r.Failures(), Connections: r.Connections, Failures: r.Failed, Elapsed: r.Elapsed, Failed: all,
		P50: r.Quantile(50), P99: r.Quantile(99), Max: r.Quantile(100), ByPID: make(map[int]int64),
	}
	for _, bar := range r.Latency.Distribution() {
		if bar.From > lateAfter.Nanoseconds() {
			t.Late += bar.Count
		}
	}
	for worker, n := range r.ByWorker {
		pid, _ := strconv.Atoi(worker) // 0: it has not said
		t.ByPID[pid] += n
	}
	return t
}

// newHistogram holds 1 us to 60 s in nanoseconds, to 3 digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1e3, 60e9, 3) }

// newFineHistogram holds 100 ns to 1 s.
func newFineHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(100, 1e9, 3) }
