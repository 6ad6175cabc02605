package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// arrivals are the times at which one client has to send, from the start of the run.
type arrivals struct {
	at     float64    // of the last, in nanoseconds
	gap    float64    // on average
	batch  int        // so many come at once
	left   int        // of the batch that was begun
	random *rand.Rand // nil: all gaps are the same
}

// next returns when to send next.
func (a *arrivals) next() time.Duration {
	if a.left == 0 {
		gap := a.gap
		if a.random != nil {
			gap *= a.random.ExpFloat64()
		}
		a.left = a.batch
		a.at += gap
	}
	a.left--
	return time.Duration(a.at)
}

// schedules returns the arrivals of each client of a plan at a rate: one for each connection with keep-alive, otherwise one
// for all. They are the same for the same seed.
func (p Plan) schedules() []arrivals {
	gap := float64(time.Second) / p.Rate
	if p.Burst > 0 {
		gap *= float64(p.Burst)
		return []arrivals{{at: -gap, gap: gap, batch: p.Burst}}
	}
	shares := []float64{1}
	if p.KeepAlive {
		shares = p.shares()
	}
	all := make([]arrivals, len(shares))
	for i, share := range shares {
		all[i] = arrivals{gap: gap / share, batch: 1, random: p.random(2 * i)}
	}
	return all
}

// shares returns the part of the rate that each connection has. Their sum is 1.
func (p Plan) shares() []float64 {
	shares := make([]float64, p.Connections)
	sum := 0.0
	for i := range shares {
		shares[i] = 1
		if p.Uneven {
			shares[i] = 1 / float64(i+1)
		}
		sum += shares[i]
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

// random returns a source of random numbers that depends on the seed alone. Each use has a stream of its own, so that one
// never changes another.
func (p Plan) random(stream int) *rand.Rand {
	return rand.New(rand.NewPCG(p.Seed, uint64(stream)))
}

// lot draws which requests of a client are slow.
type lot struct {
	share  float64
	random *rand.Rand
}

func (p Plan) lot(client int) lot { return lot{p.Cost.SlowShare, p.random(2*client + 1)} }

func (l lot) slow() bool { return l.share > 0 && l.random.Float64() < l.share }

// never is after every run.
const never = time.Duration(math.MaxInt64)
