package load

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
)

// check is how our generator is compared with wrk.
type check struct {
	rounds      int
	duration    time.Duration // of each run, in whole seconds
	connections int
	delay       time.Duration // of the server
	stall       time.Duration
}

const (
	// rateBound and p99Bound are how far the medians may be from those of wrk.
	rateBound = 0.05
	p99Bound  = 0.10
	// stallBound is the part of a stall that p99.9 has to show.
	stallBound = 0.8
)

// Check compares our generator with wrk on a server of a known latency, and shows what both see of a stall. It returns an
// error when they do not agree, or a stall is hidden. It takes a minute.
func Check(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := check{connections: 32, delay: 5 * time.Millisecond, stall: 500 * time.Millisecond}
	flags := flag.NewFlagSet("check-load", flag.ContinueOnError)
	flags.IntVar(&c.rounds, "rounds", 7, "runs of each generator, one after the other")
	flags.DurationVar(&c.duration, "duration", 3*time.Second, "of each run, in whole seconds")
	if err := command.Parse(flags, args, stderr, "check-load [flags]\nOn a machine that is busy: sudo chrt -f 5 bench check-load"); err != nil {
		return err
	}
	if c.rounds < 1 || c.duration < time.Second || c.duration%time.Second != 0 {
		return command.Wrong(stderr, errors.New("-rounds must be positive, and -duration whole seconds"))
	}
	return errors.Join(c.agreement(ctx, stdout), c.stalls(ctx, stdout))
}

// agreement compares both in a closed loop.
func (c check) agreement(ctx context.Context, stdout io.Writer) error {
	pairs, err := c.pairs(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "A server that sleeps %v, a closed loop of %d connections with keep-alive; medians of %d runs of %v\n",
		c.delay, c.connections, c.rounds, c.duration)
	out := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(out, "\twrk\tload\tratio\tquartiles\tbound\t\n")
	for _, figure := range []struct {
		name  string
		bound float64 // 0: none
		of    func(Result) float64
	}{
		{"requests/s", rateBound, func(r Result) float64 { return r.Rate }},
		{"p50, ms", 0, func(r Result) float64 { return r.Quantile(50).Seconds() * 1e3 }},
		{"p99, ms", p99Bound, func(r Result) float64 { return r.Quantile(99).Seconds() * 1e3 }},
		{"p99.9, ms", 0, func(r Result) float64 { return r.Quantile(99.9).Seconds() * 1e3 }},
	} {
		var theirs, ours, ratios []float64
		for _, p := range pairs {
			theirs, ours = append(theirs, figure.of(p.wrk)), append(ours, figure.of(p.load))
			ratios = append(ratios, figure.of(p.load)/figure.of(p.wrk))
		}
		ratio, bound := quantile(ratios, 0.5), ""
		if figure.bound > 0 {
			bound = fmt.Sprintf("%.0f %%", 100*figure.bound)
			err = errors.Join(err, within(figure.name, ratio, figure.bound))
		}
		fmt.Fprintf(out, "%s\t%.2f\t%.2f\t%.3f\t%.3f to %.3f\t%s\t\n", figure.name, quantile(theirs, 0.5), quantile(ours, 0.5), ratio,
			quantile(ratios, 0.25), quantile(ratios, 0.75), bound)
	}
	_ = out.Flush() // its writer is ours
	fmt.Fprint(stdout, "Both show what they have measured: the correction of wrk is taken away.\n\n")
	return err
}

// pair is one run of each.
type pair struct{ wrk, load Result }

// pairs measures both in turns, each first every other time: what disturbs the machine meets both.
func (c check) pairs(ctx context.Context) (pairs []pair, err error) {
	server, err := startDelay(c.delay)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	for round := range c.rounds {
		var p pair
		runs := []func() error{
			func() (err error) { p.wrk, _, err = wrk(ctx, server.addr, c.connections, c.duration); return err },
			func() (err error) {
				p.load, err = server.load(ctx, closedLoop(c.connections, c.duration), 0)
				return err
			},
		}
		if round%2 == 1 {
			slices.Reverse(runs)
		}
		for _, run := range runs {
			if err := run(); err != nil {
				return nil, err
			}
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// closedLoop is what wrk does: it has no warm-up.
func closedLoop(connections int, duration time.Duration) Plan {
	return Plan{Connections: connections, KeepAlive: true, Duration: duration}
}

// quantile is between the two nearest values.
func quantile(values []float64, q float64) float64 {
	values = slices.Sorted(slices.Values(values))
	at := q * float64(len(values)-1)
	low, high := values[int(at)], values[int(math.Ceil(at))]
	return low + (high-low)*(at-math.Floor(at))
}

func within(name string, ratio, bound float64) error {
	if !(math.Abs(ratio-1) <= bound) { // NaN, too
		return fmt.Errorf("%s of load is %.3f times that of wrk, and the bound is %.0f %%", name, ratio, 100*bound)
	}
	return nil
}

// stalls stops a server once in a run.
func (c check) stalls(ctx context.Context, stdout io.Writer) error {
	const rate, duration, connections = 1000, 4 * time.Second, 2
	server, err := startDelay(time.Millisecond)
	if err != nil {
		return err
	}
	defer server.stop()
	open, err := server.load(ctx, Plan{Connections: 10, KeepAlive: true, Rate: rate, Duration: duration}, c.stall)
	if err != nil {
		return err
	}
	closed, err := server.load(ctx, closedLoop(connections, duration), c.stall)
	if err != nil {
		return err
	}
	stalled := make(chan error, 1)
	go func() { stalled <- server.stallAfter(duration/3, c.stall) }() // ends after that
	raw, shown, err := wrk(ctx, server.addr, connections, duration)
	if err = errors.Join(err, <-stalled); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "A server that is stopped for %v in a run of %v, %d requests/s or a closed loop of %d connections\n",
		c.stall, duration, rate, connections)
	out := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(out, "\trequests/s\tp50\tp99\tp99.9\tmax\t\n")
	for _, line := range []struct {
		name string
		Result
	}{
		{"load, open loop", open},
		{"load, closed loop", closed},
		{"wrk, as measured", raw},
		{"wrk, as it corrects itself", shown},
	} {
		fmt.Fprintf(out, "%s\t%.0f\t", line.name, line.Rate)
		for _, percent := range []float64{50, 99, 99.9, 100} {
			fmt.Fprintf(out, "%v\t", line.Quantile(percent).Round(time.Microsecond))
		}
		fmt.Fprintln(out)
	}
	_ = out.Flush() // its writer is ours
	return c.judge(open, closed, raw)
}

// judge tells whether the open loop shows the stall, and the closed ones hide it, which shows that the check can fail.
func (c check) judge(open, closed, raw Result) error {
	bound := time.Duration(stallBound * float64(c.stall))
	var errs []error
	if p := open.Quantile(99.9); p < bound {
		errs = append(errs, fmt.Errorf("the open loop hides a stall of %v: its p99.9 is %v", c.stall, p))
	}
	for name, r := range map[string]Result{"load": closed, "wrk": raw} {
		if p := r.Quantile(99.9); p >= bound {
			errs = append(errs, fmt.Errorf("the closed loop of %s was to hide the stall, and its p99.9 is %v: is the machine busy?", name, p))
		}
	}
	return errors.Join(errs...)
}

// runDelay is the server of checks, which sleeps for a known time in each request. It ends with its standard input.
func runDelay(delay time.Duration) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(delay)
		_, _ = w.Write([]byte("hello\n")) // a client that has gone needs no answer
	})
	return child.Serve(func() error { return http.Serve(l, handler) }, l.Close)
}

// delayServer is a server of a known latency, in a process of its own.
type delayServer struct {
	*child.Process
	addr string
}

func startDelay(delay time.Duration) (s delayServer, err error) {
	if s.Process, err = child.Run(delayRole, delay); err != nil {
		return s, err
	}
	if s.addr, err = s.Line(0, ""); err != nil {
		s.stop()
	}
	return s, err
}

func (s delayServer) stop() { _ = s.Stop(nil) } // what it was asked is answered

// load loads s, and stops it for a time if that is not 0.
func (s delayServer) load(ctx context.Context, p Plan, stall time.Duration) (result Result, err error) {
	p.Addrs = []string{s.addr}
	r, err := Start(ctx, p)
	if err != nil {
		return result, err
	}
	<-r.Begun()
	if stall > 0 {
		err = s.stallAfter(p.Duration/3, stall)
	}
	result, waitErr := r.Wait()
	if n := result.Failures(); n > 0 {
		err = errors.Join(err, fmt.Errorf("load: %d requests have failed: %v", n, result.Failed))
	}
	return result, errors.Join(err, waitErr)
}

// stallAfter stops s for a time, after another.
func (s delayServer) stallAfter(after, stall time.Duration) error {
	time.Sleep(after)
	err := s.Signal(syscall.SIGSTOP)
	time.Sleep(stall)
	return errors.Join(err, s.Signal(syscall.SIGCONT))
}
