package load

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// ErrUsage is the error of flags that are wrong, which the user has been told already.
var ErrUsage = errors.New("usage")

const (
	// noticeable is how far the generator may be behind without a word.
	noticeable = time.Millisecond
	// fullyBusy is the part of the time that it may be at work without a word.
	fullyBusy = 0.9
)

// Run is the generator by hand: args are a URL and flags.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	p, err := parsePlan(args, stderr)
	if err != nil {
		return err
	}
	r, err := Start(ctx, p)
	if err != nil {
		return err
	}
	result, err := r.Wait()
	if err != nil {
		return err
	}
	result.print(stdout, p)
	return nil
}

func parsePlan(args []string, stderr io.Writer) (Plan, error) {
	p := Plan{Connections: 32, KeepAlive: true, Warmup: time.Second, Duration: 10 * time.Second, Seed: 1}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: bench load URL [flags]\nURL is on the loopback interface, as in http://127.0.0.1:8080/")
		flags.PrintDefaults()
	}
	flags.IntVar(&p.Connections, "connections", p.Connections, "at a time")
	flags.BoolVar(&p.KeepAlive, "keep-alive", p.KeepAlive, "or a new connection for each request, with -keep-alive=false")
	flags.Float64Var(&p.Rate, "rate", 0, "requests a second of all connections together; 0: each waits for its answer only")
	flags.BoolVar(&p.Constant, "constant", false, "requests come in equal distances, not at random")
	flags.BoolVar(&p.Uneven, "uneven", false, "unequal rates: that of the i-th connection is in proportion to 1/i")
	flags.DurationVar(&p.Cost, "cost", 0, "of CPU that a request asks for, as ?burn=MICROSECONDS")
	flags.Float64Var(&p.SlowShare, "slow-share", 0, "of the requests, from 0 to 1, that ask for -slow-cost")
	flags.DurationVar(&p.SlowCost, "slow-cost", 0, "of CPU that a slow request asks for")
	flags.IntVar(&p.Burst, "burst", 0, "open so many connections at once at each -burst-every, with one request each")
	flags.DurationVar(&p.BurstEvery, "burst-every", 0, "time between two bursts")
	flags.DurationVar(&p.Warmup, "warmup", p.Warmup, "time whose requests do not count")
	flags.DurationVar(&p.Duration, "duration", p.Duration, "time after it")
	flags.DurationVar(&p.Timeout, "timeout", defaultTimeout, "of a request, with its connect")
	flags.Uint64Var(&p.Seed, "seed", p.Seed, "of what is drawn at random")
	target := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		target, args = args[0], args[1:]
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return p, err
	} else if err != nil {
		return p, ErrUsage
	}
	if target == "" {
		target = flags.Arg(0)
	}
	if p.Burst > 0 {
		p.KeepAlive = false
	}
	if err := p.setURL(target); err != nil {
		return p, tellUsage(stderr, err)
	}
	if _, err := p.withDefaults(); err != nil {
		return p, tellUsage(stderr, err)
	}
	return p, nil
}

func tellUsage(stderr io.Writer, err error) error {
	fmt.Fprintf(stderr, "bench load: %v; -h lists the flags\n", err)
	return ErrUsage
}

func (p *Plan) setURL(target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("%q is no URL as in http://127.0.0.1:8080/", target)
	}
	p.Addr, p.Path = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")), u.RequestURI()
	return nil
}

// String tells in short what the load is.
func (p Plan) String() string {
	var s strings.Builder
	switch {
	case p.Burst > 0:
		fmt.Fprintf(&s, "%d connections at once each %v", p.Burst, p.BurstEvery)
	case p.Rate == 0:
		fmt.Fprintf(&s, "closed loop of %d connections", p.Connections)
	default:
		fmt.Fprintf(&s, "open loop at %g/s", p.Rate)
		if p.KeepAlive {
			fmt.Fprintf(&s, " of %d connections", p.Connections)
		}
		if p.Constant {
			s.WriteString(" in equal distances")
		}
		if p.Uneven {
			s.WriteString(" at unequal rates")
		}
	}
	if !p.KeepAlive && p.Burst == 0 {
		s.WriteString(", a connection for each request")
	}
	fmt.Fprintf(&s, ", %v after %v of warm-up", p.Duration, p.Warmup)
	return s.String()
}

func (r Result) print(w io.Writer, p Plan) {
	fmt.Fprintf(w, "%s%s: %v\n\n", p.Addr, p.Path, p)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "requests/s\tanswered\tfailed\tretried\tconnections\t\n%.1f\t%d\t%d\t%d\t%d\t\n\n",
		r.Rate, r.Requests, r.Failures(), r.Retried, r.Connections)
	fmt.Fprint(out, "p50\tp90\tp99\tp99.9\tmax\tgenerator late, p99\tits CPU\t\n")
	for _, percent := range []float64{50, 90, 99, 99.9, 100} {
		fmt.Fprintf(out, "%s\t", short(r.Quantile(percent)))
	}
	fmt.Fprintf(out, "%s\t%.0f %%\t\n\n", short(r.Late), 100*r.busy())
	if r.Failures() > 0 {
		fmt.Fprint(out, "failure\trequests\t\n")
		for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
			fmt.Fprintf(out, "%s\t%d\t\n", kind, r.Failed[kind])
		}
		fmt.Fprintln(out)
	}
	r.printWorkers(out)
	_ = out.Flush() // its writer is ours
	if r.Late > noticeable && (p.Rate > 0 || p.Burst > 0) {
		fmt.Fprintf(w, "\nThe generator itself was late by %s at p99: latencies near it are its own, not the server's.\n", short(r.Late))
	}
	if r.busy() > fullyBusy {
		fmt.Fprintln(w, "\nThe generator had no CPU time left: it may be the limit, not the server.")
	}
}

// busy is the part of the time that the generator's thread was at work.
func (r Result) busy() float64 { return r.CPU.Seconds() / r.Elapsed.Seconds() }

// printWorkers tells how fair the share of each worker is.
func (r Result) printWorkers(w io.Writer) {
	fmt.Fprint(w, "worker\trequests\tshare\tto fair\tconnections\t\n")
	fair := float64(r.Requests) / float64(max(len(r.ByWorker), 1))
	for _, id := range slices.Sorted(maps.Keys(r.ByWorker)) {
		n := float64(r.ByWorker[id])
		fmt.Fprintf(w, "%s\t%.0f\t%.1f %%\t%.2f\t%d\t\n", cmp.Or(id, "-"), n, 100*n/float64(r.Requests), n/fair, r.ConnsByWorker[id])
	}
}

// short is d with 3 digits or so, in a unit that fits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f us", float64(d)/1e3)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}
