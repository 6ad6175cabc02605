package sim

import (
	"context"
	"math"
	"math/rand/v2"
)

// run is one replication.
type run struct {
	Scenario
	crew   []worker
	site   *site
	choose func() int
	links  *links // nil if each request has a connection of its own
	tally  *tally

	// The streams of random numbers, each for one purpose: another policy meets the same requests.
	arrivals, lives *rand.Rand
	demand          func() float64

	timers  *timers // the workers', and then these
	from    float64 // what arrives from here
	until   float64 // to here counts
	pending int     // requests that count and are not done
	arrived func(worker int, now float64)
	done    func(demand, response float64)
}

// The timers behind those of the workers.
const (
	arrival = iota
	renewal // of the weights
	ending  // of connections
	window
	closing // nothing arrives any more
	extraTimers
)

// windowTime is over how long the workers' busy time is compared. With requests of 1 ms it is a second, as in top(1).
const windowTime = 1000

func newRun(s Scenario, replication int) *run {
	seeds := rand.NewPCG(s.Seed, uint64(replication))
	stream := func() *rand.Rand { return rand.New(rand.NewPCG(seeds.Uint64(), seeds.Uint64())) }
	crew := s.crew()
	r := &run{
		Scenario: s, crew: crew, tally: newTally(len(crew)),
		arrivals: stream(), lives: stream(), demand: laws[s.Law].open(stream()),
		site:   &site{open: make([]int, len(crew)), choices: stream()},
		timers: newTimers(len(crew) + extraTimers),
		from:   s.Warmup, until: s.Warmup + s.Duration,
	}
	r.done = r.tally.add
	r.choose = policies[s.Policy](r.site)
	if s.Connections > 0 {
		r.links = newLinks(s, r.site, r.choose, stream())
	}
	return r
}

// do runs it to its end.
func (r *run) do(ctx context.Context) (figures, error) {
	r.begin()
	const patience = 1 << 14 // events between two looks at the context
	for events := 0; ; events++ {
		if events%patience == 0 && ctx.Err() != nil {
			return figures{}, ctx.Err()
		}
		timer, now := r.timers.next()
		if now > r.until && r.pending == 0 {
			return r.tally.figures()
		}
		if timer < len(r.crew) {
			r.finish(timer, now)
		} else {
			r.ring(timer-len(r.crew), now)
		}
	}
}

// begin sets the timers.
func (r *run) begin() {
	r.set(arrival, r.untilArrival())
	r.set(window, r.from)
	r.set(closing, r.until+r.Warmup)
	if r.site.look != nil {
		r.set(renewal, r.Every)
	}
	if r.links != nil && r.Life > 0 {
		r.set(ending, r.untilEnding())
	}
}

func (r *run) set(timer int, at float64) { r.timers.set(len(r.crew)+timer, at) }

func (r *run) untilArrival() float64 {
	return r.arrivals.ExpFloat64() / (r.Load * float64(r.Workers))
}

func (r *run) untilEnding() float64 {
	return r.lives.ExpFloat64() * r.Life * together / float64(r.Connections)
}

// ring does what a timer is for, and sets it again.
func (r *run) ring(timer int, now float64) {
	switch timer {
	case arrival:
		r.arrive(now)
		r.set(arrival, now+r.untilArrival())
	case renewal:
		r.site.look()
		r.set(renewal, now+r.Every)
	case ending:
		r.links.replace(r.lives, r.site, r.choose)
		r.set(ending, now+r.untilEnding())
	case window:
		r.compare(now)
	case closing:
		for timer := range extraTimers {
			r.set(timer, math.Inf(1))
		}
	}
}

// compare ends a window and begins the next, if it will end in time.
func (r *run) compare(now float64) {
	if now == r.from {
		r.tally.begin(r.crew, now)
	} else {
		r.tally.window(r.crew, now)
	}
	next := now + min(windowTime, r.Duration)
	if next > r.until {
		next = math.Inf(1)
	}
	r.set(window, next)
}

func (r *run) counts(arrived float64) bool { return arrived >= r.from && arrived < r.until }

func (r *run) arrive(now float64) {
	worker := r.route()
	if r.counts(now) {
		r.pending++
		if r.links != nil && r.links.offered[worker] > float64(r.crew[worker].cpus)+1e-9 {
			r.tally.overloaded++
		}
	}
	if r.arrived != nil {
		r.arrived(worker, now)
	}
	r.crew[worker].add(now, request{arrived: now, demand: r.demand()})
	r.timers.set(worker, r.crew[worker].next())
}

// route returns the worker of the next request.
func (r *run) route() int {
	if r.links != nil {
		return r.links.worker[r.links.shares.draw(r.arrivals)]
	}
	worker := r.choose()
	r.site.open[worker]++
	return worker
}

func (r *run) finish(worker int, now float64) {
	done := r.crew[worker].finish(now)
	r.timers.set(worker, r.crew[worker].next())
	if r.links == nil {
		r.site.open[worker]--
	}
	if r.counts(done.arrived) {
		r.pending--
		r.done(done.demand, now-done.arrived)
	}
}
