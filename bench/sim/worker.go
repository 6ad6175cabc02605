package sim

import (
	"cmp"
	"math"
	"slices"
)

// request is a request that has arrived.
type request struct {
	arrived, demand float64
	done            float64 // in the worker's virtual time
}

// worker shares its CPUs equally among at most limit requests, none of which can use more than one CPU; the others wait
// in the order in which they came. With one CPU that is PS where there is no limit, and FCFS where it is 1. With N
// CPUs it is a process with N threads, or the central queue M/G/N where the limit is N.
//
// virtual is the service that each request in service has got since the worker was idle, so that one that starts now is
// done when virtual has grown by its demand, whoever comes and goes meanwhile.
type worker struct {
	cpus, limit int
	serving     []request // that which is done first is the last
	waiting     []request

	virtual float64
	now     float64 // of the last change
	busy    float64 // time that its CPUs have worked, together
}

// rate is how fast virtual time goes.
func (w *worker) rate() float64 {
	if len(w.serving) <= w.cpus {
		return 1
	}
	return float64(w.cpus) / float64(len(w.serving))
}

func (w *worker) advance(now float64) {
	elapsed := now - w.now
	w.now = now
	w.virtual += elapsed * w.rate()
	w.busy += elapsed * float64(min(len(w.serving), w.cpus))
}

func (w *worker) add(now float64, r request) {
	w.advance(now)
	if len(w.serving) == w.limit {
		w.waiting = append(w.waiting, r)
		return
	}
	w.serve(r)
}

func (w *worker) serve(r request) {
	if len(w.serving) == 0 {
		w.virtual = 0 // its digits are for the present
	}
	r.done = w.virtual + r.demand
	i, _ := slices.BinarySearchFunc(w.serving, r.done, func(other request, done float64) int { return cmp.Compare(done, other.done) })
	w.serving = slices.Insert(w.serving, i, r)
}

// first returns the request in service that is done first.
func (w *worker) first() request { return w.serving[len(w.serving)-1] }

// next returns when the first request will be done, if none comes before.
func (w *worker) next() float64 {
	if len(w.serving) == 0 {
		return math.Inf(1)
	}
	return w.now + max(0, w.first().done-w.virtual)/w.rate()
}

// finish returns the request that is done now.
func (w *worker) finish(now float64) request {
	w.advance(now)
	r := w.first()
	w.serving = w.serving[:len(w.serving)-1]
	if len(w.waiting) > 0 {
		w.serve(w.waiting[0])
		w.waiting = w.waiting[1:]
	}
	return r
}
