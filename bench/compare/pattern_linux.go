package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/bench/report"
	"github.com/multinode-go/multinode/bench/ways"
)

// What the patterns are made of. Rates follow the machine: they are the same for all ways, and far enough below what the
// baseline can do that a queue tells of the way and not of a machine that is full.
const (
	connections = 64
	calm        = 0.3 // of the greatest rate of the baseline, for fixed rates
	busy        = 0.4 // of the CPU time there is, for requests that cost some
	cost        = 200 * time.Microsecond
	slowShare   = 0.01
	slowCost    = 50 * time.Millisecond
	burst       = 256
	burstEvery  = 250 * time.Millisecond
	stall       = time.Second
)

// pattern is one pattern of load, and what happens meanwhile.
type pattern struct {
	report.Pattern
	brief bool // it is in the short comparison
	burns bool // it needs a handler that can burn CPU

	plan func(limits) load.Plan
	// event happens in the middle, if there is one. It returns figures of its own.
	event func(context.Context, *ways.Server) (report.Figures, error)
}

// limits are what this machine can do.
type limits struct {
	keepAlive float64 // requests a second of the baseline, in a closed loop
	short     float64 // the same with a connection for each
	cpus      float64 // for servers and load
}

// costly returns the rate at which requests that cost so much keep the CPUs busy.
func (l limits) costly(cost time.Duration) float64 {
	return min(calm*l.keepAlive, busy*l.cpus/cost.Seconds())
}

// eventDuration is how long a pattern takes in which something happens, so that there is a before and an after.
const eventDuration = 3 * time.Second

var (
	speed    = []string{report.RequestsPerSecond, report.CPU, report.P99, report.RequestsMaxMean, report.Failures}
	latency  = []string{report.P99, report.P50, report.P999, report.CPU, report.RequestsMaxMean}
	fairness = []string{report.P99, report.ConnectionsMaxMean, report.RequestsMaxMean, report.RequestsJain, report.P50}
)

func patterns() []pattern {
	all := []pattern{
		{
			brief: true, plan: func(limits) load.Plan { return load.Plan{Connections: connections} },
			Pattern: report.Pattern{
				Name: "short", Title: "Short connections, as many as possible", Figures: speed,
				About:    fmt.Sprintf("%d clients open a connection, send one request, read the answer, and open the next one.", connections),
				Question: "What does it cost to bring a connection to a worker? Here a way shows itself most, as each request pays for it.",
			},
		},
		{
			brief: true, plan: func(limits) load.Plan { return load.Plan{Connections: connections, KeepAlive: true} },
			Pattern: report.Pattern{
				Name: "keepalive", Title: "Kept connections, as many requests as possible", Figures: speed,
				About:    fmt.Sprintf("%d connections stay open, and each sends its next request when it has its answer.", connections),
				Question: "What can the workers do when connections are spread once and for all? A way that copies bytes pays on each request.",
			},
		},
		{
			brief: true,
			Pattern: report.Pattern{
				Name: "rate", Title: "Kept connections at a fixed rate", Figures: latency,
				About: fmt.Sprintf("%d connections stay open; requests come at random (Poisson), at %.0f %% of what the baseline can do.",
					connections, 100*calm),
				Question: "How long does a request take on a server that is not overloaded?",
			},
			plan: func(l limits) load.Plan {
				return load.Plan{Connections: connections, KeepAlive: true, Rate: calm * l.keepAlive}
			},
		},
		{
			plan: func(l limits) load.Plan { return load.Plan{Rate: calm * l.short} },
			Pattern: report.Pattern{
				Name: "short-rate", Title: "Short connections at a fixed rate", Figures: latency,
				About:    fmt.Sprintf("Requests come at random, each on a new connection, at %.0f %% of what the baseline can do.", 100*calm),
				Question: "How long does a connection with one request take on a server that is not overloaded?",
			},
		},
		{
			brief: true, burns: true,
			Pattern: report.Pattern{
				Name: "slow", Title: "Now and then a slow request", Figures: latency,
				About: fmt.Sprintf("Each request comes on a new connection. %.0f %% of them take %v of CPU, the others %v; all together %.0f %% of it.",
					100*slowShare, slowCost, cost, 100*busy),
				Question: "Who waits behind a slow request? With one queue for all, whoever is free takes the next; with a queue for each worker, a busy one keeps what it was given.",
			},
			plan: func(l limits) load.Plan {
				mean := slowShare*slowCost.Seconds() + (1-slowShare)*cost.Seconds()
				return load.Plan{
					Rate: l.costly(time.Duration(mean * float64(time.Second))), Cost: load.Cost{Usual: cost, Slow: slowCost, SlowShare: slowShare},
				}
			},
		},
		{
			plan: func(limits) load.Plan { return load.Plan{Burst: burst, Rate: burst / burstEvery.Seconds()} },
			Pattern: report.Pattern{
				Name: "burst", Title: "Bursts of connections", Figures: []string{report.P99, report.Max, report.P50, report.QueueMax, report.RequestsMaxMean},
				About:    fmt.Sprintf("%d connections are opened at once, each %v, each for one request.", burst, burstEvery),
				Question: "How long does the last one of a crowd wait, and how even is the crowd spread?",
			},
		},
		{
			plan: func(l limits) load.Plan { return load.Plan{Rate: calm / 2 * l.short} }, event: stallWorker,
			Pattern: report.Pattern{
				Name: "stall", Title: "A worker stalls for a second", Figures: []string{report.P999, report.P99, report.Max, report.QueueMax, report.Failures},
				About:    fmt.Sprintf("Each request comes on a new connection. In the middle one of the workers is stopped (SIGSTOP) for %v.", stall),
				Question: "Who suffers when one process hangs? Here p99.9 and the longest queue tell. With one process, everybody does.",
			},
		},
		{
			plan: func(l limits) load.Plan { return load.Plan{Rate: calm / 2 * l.short} }, event: restart,
			Pattern: report.Pattern{
				Name: "restart", Title: "A rolling restart", Figures: []string{report.Failures, report.Restart, report.P999, report.Max, report.P99},
				About:    "Each request comes on a new connection. In the middle all workers are replaced, as the users of this way do it.",
				Question: "What does a deploy cost? Failures are requests that a client saw fail.",
			},
		},
	}
	for _, n := range []int{8, 32, 256} {
		all = append(all, few(n))
	}
	return all
}

func few(n int) pattern {
	return pattern{
		brief: n == 32, burns: true,
		Pattern: report.Pattern{
			Name: fmt.Sprintf("few-%d", n), Title: fmt.Sprintf("%d long connections that send unevenly", n), Figures: fairness,
			About: fmt.Sprintf("%d connections stay open; the i-th sends in proportion to 1/i. Each request takes %v of CPU, all together %.0f %% of it.",
				n, cost, 100*busy),
			Question: "What if chance puts the busy connections on one worker? With few connections the spread of the kernel's hash is uneven, and nothing moves a connection later.",
		},
		plan: func(l limits) load.Plan {
			return load.Plan{Connections: n, KeepAlive: true, Uneven: true, Cost: load.Cost{Usual: cost}, Rate: l.costly(cost)}
		},
	}
}
