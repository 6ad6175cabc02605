package load

import (
	"cmp"
	"context"
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

	"github.com/multinode-go/multinode/bench/internal/command"
)

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
	p := Plan{Seed: 1}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.IntVar(&p.Connections, "connections", 32, "at a time")
	flags.BoolVar(&p.KeepAlive, "keep-alive", true, "or a new connection for each request, with -keep-alive=false")
	flags.Float64Var(&p.Rate, "rate", 0, "requests a second of all connections together; 0: each waits for its answer only")
	flags.DurationVar(&p.Warmup, "warmup", time.Second, "time whose requests do not count")
	flags.DurationVar(&p.Duration, "duration", 10*time.Second, "time after it")
	target := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		target, args = args[0], args[1:]
	}
	if err := command.Parse(flags, args, stderr, "load URL [flags]\nURL is on the loopback interface, as in http://127.0.0.1:8080/"); err != nil {
		return p, err
	}
	err := p.setURL(cmp.Or(target, flags.Arg(0)))
	if err == nil {
		_, err = p.withDefaults()
	}
	if err != nil {
		return p, command.Wrong(stderr, err)
	}
	return p, nil
}

func (p *Plan) setURL(target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("%q is no URL as in http://127.0.0.1:8080/", target)
	}
	p.Addrs, p.Path = []string{net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))}, u.RequestURI()
	return nil
}

func (r Result) print(w io.Writer, p Plan) {
	fmt.Fprintf(w, "%s%s: %v\n\n", p.Addrs[0], p.Path, p)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "requests/s\tanswered\tfailed\tretried\tconnections\t\n%.1f\t%d\t%d\t%d\t%d\t\n\n",
		r.Rate, r.Requests, r.Failures(), r.Retried, r.Connections)
	fmt.Fprint(out, "p50\tp90\tp99\tp99.9\tmax\tgenerator late, p99\tits CPU\t\n")
	for _, percent := range []float64{50, 90, 99, 99.9, 100} {
		fmt.Fprintf(out, "%v\t", r.Quantile(percent).Round(time.Microsecond))
	}
	busy, late := r.CPU.Seconds()/r.Elapsed.Seconds(), r.Late.Round(time.Microsecond)
	fmt.Fprintf(out, "%v\t%.0f %%\t\n\n", late, 100*busy)
	if r.Failures() > 0 {
		fmt.Fprint(out, "failure\trequests\t\n")
		for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
			fmt.Fprintf(out, "%s\t%d\t\n", kind, r.Failed[kind])
		}
		fmt.Fprintln(out)
	}
	r.printWorkers(out)
	_ = out.Flush() // its writer is ours
	if late > noticeable && p.Rate > 0 {
		fmt.Fprintf(w, "\nThe generator itself was late by %v at p99: latencies near it are its own, not the server's.\n", late)
	}
	if busy > fullyBusy {
		fmt.Fprintln(w, "\nThe generator had no CPU time left: it may be the limit, not the server.")
	}
}

// printWorkers tells how fair the share of each worker is.
func (r Result) printWorkers(w io.Writer) {
	fmt.Fprint(w, "worker\trequests\tshare\tto fair\tconnections\t\n")
	fair := float64(r.Requests) / float64(max(len(r.ByWorker), 1))
	for _, id := range slices.Sorted(maps.Keys(r.ByWorker)) {
		n := float64(r.ByWorker[id])
		fmt.Fprintf(w, "%s\t%.0f\t%.1f %%\t%.2f\t%d\t\n", cmp.Or(id, "-"), n, 100*n/float64(r.Requests), n/fair, r.ConnsByWorker[id])
	}
}
