// Package load is a load generator for HTTP/1.1 on the loopback interface, in a process of its own.
//
// What an expert asks first:
//
//   - Latency is counted from the moment at which a request had to be sent, on a schedule that is fixed by the seed before
//     the run. A server that stalls meets the requests that came in the meantime, and so does the histogram: there is no
//     coordinated omission. A closed loop (Rate 0) has no such schedule, so it hides a stall, and is for the maximum only.
//   - Every request of the schedule is answered, has failed, or could not be sent, and all of them are counted.
//   - How far the generator itself was behind is measured and reported as Result.Late. Latencies near it are its own.
//   - One thread does everything, from an event loop on epoll: it takes as much CPU a request as wrk, and no scheduler of
//     goroutines stands between an answer and its time. It ends at 80,000 requests a second or so with keep-alive, and 15,000
//     on short connections; Result.CPU tells when it was the limit.
//
// With keep-alive, a connection has one request in flight, and what is due in the meantime waits for it, as in wrk2. When a
// server closes an idle connection while a request is on its way, and has read nothing of it, the request is sent again
// once, as clients do with requests that are idempotent.
//
// Short connections ask for "Connection: close", and the server closes first. So TIME_WAIT is on its side, where it holds
// no port of ours, and connections in a row are not limited by the 28,232 ports of a client.
//
// A load is a process that runs this same program, so main begins with child.Become(load.Roles()).
//
// Check compares it with wrk. It needs Linux 5.11.
package load

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"time"
)

const (
	// maxInFlight bounds the requests of short connections that are under way. What is due beyond it fails as "not sent".
	maxInFlight = 10_000
	// defaultTimeout is longer than three SYNs that are lost.
	defaultTimeout = 10 * time.Second
	// maxRate is beyond what one thread can send.
	maxRate = 1_000_000
)

// Plan is what a load does.
type Plan struct {
	Addrs       []string // of the server, on the loopback interface; connection i has that at i modulo their number
	Path        string   // "" is "/"
	Connections int      // at a time; of no meaning for short connections at a Rate
	KeepAlive   bool     // else a new connection for each request

	// Rate is how many requests a second come on all connections together, at random and independently of each other (a
	// Poisson process). 0: a closed loop, each waits for its answer only.
	Rate float64
	// Burst requests come at once, in equal distances, each on a connection of its own. 0: they come one by one.
	Burst int
	// Uneven gives the connections unequal rates: that of the i-th is in proportion to 1/i (Zipf's law). It takes
	// KeepAlive and a Rate.
	Uneven bool

	Cost   Cost
	Strict *Strict // nil: the load ends by itself

	Warmup   time.Duration // before Duration; its requests do not count
	Duration time.Duration
	Timeout  time.Duration // of a request, with its connect; 0: 10 s
	Seed     uint64        // of the schedule, and of which requests are slow
	CPUs     []int         // that the load process may use; nil: all
}

// Cost is the CPU time that requests ask the server to burn, in microseconds.
type Cost struct {
	Usual, Slow time.Duration // 0: none
	SlowShare   float64       // of the requests, from 0 to 1, that cost Slow
}

// Strict is a closed loop that goes on until Runner.Stop, in place of Plan.Duration, and shows whether anything is lost. No
// request is sent again, and Result.Lost tells of each that has failed. Connections are closed by a reset, as soon as they are
// not needed: that leaves no TIME_WAIT on either side. The addresses may be of a private network, too: that of a network
// namespace.
type Strict struct {
	Think  time.Duration // between an answer and the next request of a connection
	Ledger string        // file of a Ledger, which knows who has accepted a connection; "": none
}

// withDefaults returns p with its defaults filled in, or an error that tells what is wrong with it.
func (p Plan) withDefaults() (Plan, error) {
	p.Path, p.Timeout = cmp.Or(p.Path, "/"), cmp.Or(p.Timeout, defaultTimeout)
	_, err := p.targets()
	if err := errors.Join(err, p.check()); err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	return p, nil
}

// targets returns the addresses of the server. Only this machine is loaded.
func (p Plan) targets() (all []*net.TCPAddr, err error) {
	for _, text := range p.Addrs {
		addr, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			return nil, err
		}
		if !addr.IP.IsLoopback() && (p.Strict == nil || !addr.IP.IsPrivate()) {
			return nil, fmt.Errorf("%s is not on the loopback interface, and load goes nowhere else; use 127.0.0.1:%d", text, addr.Port)
		}
		all = append(all, addr)
	}
	return all, nil
}

func (p Plan) check() error {
	switch {
	case len(p.Addrs) == 0:
		return errors.New("no address")
	case !strings.HasPrefix(p.Path, "/") || strings.ContainsAny(p.Path, " \r\n#"):
		return fmt.Errorf("path %q must begin with / and have neither spaces nor a fragment", p.Path)
	case math.IsNaN(p.Rate) || p.Rate < 0 || p.Rate > maxRate:
		return fmt.Errorf("a rate of %v is not from 0 to %d", p.Rate, maxRate)
	case p.Burst < 0 || p.Burst > maxInFlight:
		return fmt.Errorf("a burst of %d is not from 1 to %d", p.Burst, maxInFlight)
	case p.Burst > 0 && (p.KeepAlive || p.Rate == 0):
		return errors.New("bursts take a Rate, and no KeepAlive")
	case p.perConnection() && (p.Connections < 1 || p.Connections > maxInFlight):
		return fmt.Errorf("%d connections are not from 1 to %d", p.Connections, maxInFlight)
	case p.Uneven && (!p.KeepAlive || p.Rate == 0):
		return errors.New("uneven rates take KeepAlive and Rate")
	case p.Strict != nil && p.Rate > 0:
		return errors.New("only a closed loop can be Strict")
	case !(p.Cost.SlowShare >= 0 && p.Cost.SlowShare <= 1):
		return fmt.Errorf("a share of %v slow requests is not from 0 to 1", p.Cost.SlowShare)
	case p.Duration <= 0 && p.Strict == nil || p.Timeout < 0 || p.Warmup < 0:
		return errors.New("durations must be positive, and Warmup and Timeout may be 0")
	}
	return nil
}

// perConnection tells whether a connection waits for its answer before it sends again. Otherwise each request has a
// connection of its own, whatever became of the others.
func (p Plan) perConnection() bool { return p.KeepAlive || p.Rate == 0 }

// message returns a request that asks for a cost.
func (p Plan) message(cost time.Duration) []byte {
	path, closing := p.Path, ""
	if cost > 0 {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path = fmt.Sprintf("%s%sburn=%d", path, separator, cost.Microseconds())
	}
	if !p.KeepAlive {
		closing = "Connection: close\r\n"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, p.Addrs[0], closing)
}

// String tells in short what the load is.
func (p Plan) String() string {
	loop := fmt.Sprintf("closed loop of %d connections", p.Connections)
	switch {
	case p.Rate > 0 && p.KeepAlive:
		loop = fmt.Sprintf("open loop at %g/s of %d connections", p.Rate, p.Connections)
	case p.Rate > 0:
		loop = fmt.Sprintf("open loop at %g/s", p.Rate)
	}
	if !p.KeepAlive {
		loop += ", a connection for each request"
	}
	return fmt.Sprintf("%s, %v after %v of warm-up", loop, p.Duration, p.Warmup)
}
