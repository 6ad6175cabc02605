package sim

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// run is one replication.
type run struct {
	Scenario
	crew  []worker
	site  *site
	links *links // nil if each request has a connection of its own
	tally *tally

	// The streams of random numbers, each for one purpose: another policy meets the same requests.
	arrivals, lives, demands *rand.Rand

	timers  []float64 // when the first request of each worker is done, and then these below; +Inf: never
	until   float64   // what arrives from the warm-up to here counts
	pending int       // requests that count and are not done
}

// The timers behind those of the workers. Of two that ring together the first one comes first.
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
		arrivals: stream(), lives: stream(), demands: stream(),
		site:   newSite(len(crew), stream(), s.Policy),
		timers: slices.Repeat([]float64{math.Inf(1)}, len(crew)+extraTimers),
		until:  s.Warmup + s.Duration,
	}
	r.set(arrival, r.untilArrival())
	r.set(window, s.Warmup)
	r.set(closing, r.until+s.Warmup)
	if s.Policy == Weights {
		r.set(renewal, s.Every)
	}
	if s.Connections > 0 {
		r.links = newLinks(s, r.site, stream())
		if s.Life > 0 {
			r.set(ending, r.untilEnding())
		}
	}
	return r
}

func (r *run) set(timer int, at float64) { r.timers[len(r.crew)+timer] = at }

func (r *run) untilArrival() float64 {
	return r.arrivals.ExpFloat64() / (r.Load * float64(r.Workers))
}

func (r *run) untilEnding() float64 {
	return r.lives.ExpFloat64() * r.Life * together / float64(r.Connections)
}

// do runs it to its end.
func (r *run) do(ctx context.Context) (map[Metric]float64, error) {
	const patience = 1 << 14 // events between two looks at the context
	for events := 0; ; events++ {
		if events%patience == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		timer, now, more := r.next()
		if !more {
			return r.tally.figures()
		}
		r.ring(timer, now)
	}
}

// next returns which timer rings next, and when. There is no more when all requests that count are done.
func (r *run) next() (timer int, now float64, more bool) {
	now = r.timers[0]
	for i, at := range r.timers {
		if at < now {
			timer, now = i, at
		}
	}
	return timer, now, now <= r.until || r.pending > 0
}

// ring does what a timer is for, and sets it again.
func (r *run) ring(timer int, now float64) {
	if timer < len(r.crew) {
		r.finish(timer, now)
		return
	}
	switch timer - len(r.crew) {
	case arrival:
		r.arrive(now)
		r.set(arrival, now+r.untilArrival())
	case renewal:
		r.site.look()
		r.set(renewal, now+r.Every)
	case ending:
		r.links.replace(r.lives)
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
	if now == r.Warmup {
		r.tally.elapsed(r.crew, now)
	} else {
		r.tally.window(r.crew, now)
	}
	next := now + min(windowTime, r.Duration)
	if next > r.until {
		next = math.Inf(1)
	}
	r.set(window, next)
}

func (r *run) counts(arrived float64) bool { return arrived >= r.Warmup && arrived < r.until }

func (r *run) arrive(now float64) {
	worker := r.route()
	if r.counts(now) {
		r.pending++
		if r.links != nil && r.links.offered[worker] > float64(r.crew[worker].cpus)+1e-9 {
			r.tally.overloaded++
		}
	}
	r.crew[worker].add(now, request{arrived: now, demand: laws[r.Law].draw(r.demands)})
	r.timers[worker] = r.crew[worker].next()
}

// route returns the worker of the next request.
func (r *run) route() int {
	if r.links != nil {
		return r.links.worker[r.links.shares.draw(r.arrivals)]
	}
	return r.site.connect()
}

func (r *run) finish(worker int, now float64) {
	done := r.crew[worker].finish(now)
	r.timers[worker] = r.crew[worker].next()
	if r.links == nil {
		r.site.open[worker]--
	}
	if r.counts(done.arrived) {
		r.pending--
		r.tally.add(done.demand, now-done.arrived)
	}
}
