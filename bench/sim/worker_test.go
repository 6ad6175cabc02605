package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func requests(w *worker) int { return len(w.serving) + len(w.waiting) }

// finishAll returns when each request of a worker is done, by when it arrived.
func finishAll(w *worker, arrivals ...request) map[float64]float64 {
	done := make(map[float64]float64)
	for len(arrivals) > 0 || requests(w) > 0 {
		if at := w.next(); len(arrivals) == 0 || at <= arrivals[0].arrived {
			done[w.finish(at).arrived] = at
			continue
		}
		w.add(arrivals[0].arrived, arrivals[0])
		arrivals = arrivals[1:]
	}
	return done
}

// TestWorker is worked out by hand.
func TestWorker(t *testing.T) {
	three := []request{{arrived: 0, demand: 3}, {arrived: 1, demand: 1}, {arrived: 2, demand: 2}}
	for name, c := range map[string]struct {
		cpus, limit int
		want        map[float64]float64
	}{
		// 0 to 1 alone; to 2 two share; then three share until the second, with half of its demand left, is done at 3.5;
		// the others have 1 and 1.5 left and share until 5.5; the last 0.5 are done alone.
		"PS":   {1, math.MaxInt, map[float64]float64{0: 5.5, 1: 3.5, 2: 6}},
		"FCFS": {1, 1, map[float64]float64{0: 3, 1: 4, 2: 6}},
		// Never more than two at a time.
		"two CPUs, PS":   {2, math.MaxInt, map[float64]float64{0: 3, 1: 2, 2: 4}},
		"two CPUs, FCFS": {2, 2, map[float64]float64{0: 3, 1: 2, 2: 4}},
	} {
		w := &worker{cpus: c.cpus, limit: c.limit}
		got := finishAll(w, three...)
		assert.InDeltaMapValues(t, c.want, got, 1e-12, name)
		assert.InDelta(t, 6, w.busy, 1e-12, "%s does what was demanded", name)
	}
}

// TestWorkerSharesCPUs has three on two CPUs: each gets two thirds of one, or the third waits.
func TestWorkerSharesCPUs(t *testing.T) {
	three := []request{{arrived: 0, demand: 1}, {arrived: 0.1, demand: 1}, {arrived: 0.2, demand: 2}}
	// At 0.2 there are 0.8, 0.9 and 2 left. The first is done after 1.2, the second 0.1 later.
	assert.InDeltaMapValues(t, map[float64]float64{0: 1.4, 0.1: 1.5, 0.2: 2.6},
		finishAll(&worker{cpus: 2, limit: math.MaxInt}, three...), 1e-12)
	assert.InDeltaMapValues(t, map[float64]float64{0: 1, 0.1: 1.1, 0.2: 3},
		finishAll(&worker{cpus: 2, limit: 2}, three...), 1e-12)
}

// TestWorkerFinishesTheShortestFirst: requests that share a CPU from the beginning on end in the order of their demands.
func TestWorkerFinishesTheShortestFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	w := &worker{cpus: 1, limit: math.MaxInt}
	var want []float64
	for range 5000 {
		demand := float64(1 + r.IntN(100)) // some are the same
		w.add(0, request{demand: demand})
		want = append(want, demand)
	}
	slices.Sort(want)
	for _, demand := range want {
		assert.InDelta(t, demand, w.finish(w.next()).demand, 0)
	}
	assert.Zero(t, requests(w))
}

// TestLaws have mean 1, and the moments that they should have.
func TestLaws(t *testing.T) {
	for law, l := range laws {
		var means, squares []float64
		for seed := range uint64(10) {
			r := rand.New(rand.NewPCG(seed, 1))
			const n = 200000
			sum, square := 0.0, 0.0
			for range n {
				x := l.draw(r)
				sum += x
				square += x * x
			}
			means, squares = append(means, sum/n), append(squares, square/n)
		}
		assert.InEpsilon(t, secondMoment(law), l.square, 0.01, law)
		agrees(t, 1, estimate(means), 0.01, law)
		agrees(t, secondMoment(law), estimate(squares), 0.05, law)
	}
}
