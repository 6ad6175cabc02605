//go:build !race

package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These tests count many steps, which one goroutine takes: the race detector would find nothing, in ten times the time.

// The formulas are those of Kleinrock, Queueing Systems I (1975) and II (1976), and of Harchol-Balter, Performance Modeling
// and Design of Computer Systems (2013). The mean demand is 1, so that mu = 1 and lambda = load for each worker.

// TestPS is M/G/1-PS: the law of the demands does not matter to the mean, which is 1/(mu-lambda), nor to the mean slowdown
// (Kleinrock II, 4.4; Harchol-Balter, chapter 30).
func TestPS(t *testing.T) {
	for law := range laws {
		for _, load := range []float64{0.5, 0.8} {
			o := simulate(t, queue(1, load, law, PS, Hash))
			agrees(t, 1/(1-load), o[Response], 0.12, law, load)
			agrees(t, 1/(1-load), o[Slowdown], 0.12, law, load)
		}
	}
}

// TestPSBySize is the same for requests of each size: x/(1-rho).
func TestPSBySize(t *testing.T) {
	const load = 0.7
	limits := []float64{0.2, 0.5, 1, 2, math.Inf(1)}
	for _, law := range []Law{Exponential, Bimodal} {
		slowdowns := make([][]float64, len(limits))
		for replication := range 8 {
			demands, responses := make([]float64, len(limits)), make([]float64, len(limits))
			r := newRun(queue(1, load, law, PS, Hash), replication)
			watch(r, func(demand, response float64) {
				i := 0
				for demand > limits[i] {
					i++
				}
				demands[i] += demand
				responses[i] += response
			})
			for i := range limits {
				if demands[i] > 0 {
					slowdowns[i] = append(slowdowns[i], responses[i]/demands[i])
				}
			}
		}
		sizes := 0
		for i, s := range slowdowns {
			if len(s) > 0 {
				sizes++
				agrees(t, 1/(1-load), estimate(s), 0.08, law, limits[i])
			}
		}
		assert.Equal(t, map[Law]int{Exponential: 5, Bimodal: 2}[law], sizes)
	}
}

// TestFCFSExponential is M/M/1: the response is exponential with mean 1/(mu-lambda) (Kleinrock I, 3.2 and 5.7).
func TestFCFSExponential(t *testing.T) {
	const load = 0.7
	o := simulate(t, queue(1, load, Exponential, FCFS, Hash))
	agrees(t, 1/(1-load), o[Response], 0.03)
	agrees(t, math.Ln2/(1-load), o[P50], 0.03)
	agrees(t, math.Log(100)/(1-load), o[P99], 0.06)
	agrees(t, math.Log(1000)/(1-load), o[P999], 0.15)
	assert.NotContains(t, o, Slowdown, "its mean is infinite")
}

// TestFCFS is M/G/1: the mean wait is lambda E[S^2] / (2(1-rho)) (Pollaczek and Khinchine; Kleinrock I, 5.6).
func TestFCFS(t *testing.T) {
	const load = 0.5
	for law := range laws {
		o := simulate(t, queue(1, load, law, FCFS, Hash))
		agrees(t, 1+load*secondMoment(law)/(2*(1-load)), o[Response], 0.25, law)
	}
}

// erlangC returns the probability that all of n CPUs are busy (Kleinrock I, 3.5).
func erlangC(n int, load float64) float64 {
	blocked := 1.0 // Erlang B, by its recursion
	for k := 1; k <= n; k++ {
		blocked = load * float64(n) * blocked / (float64(k) + load*float64(n)*blocked)
	}
	return blocked / (1 - load*(1-blocked))
}

// TestShared is M/M/N: the mean wait is C(N, rho) / (N(1-rho)). With PS its mean is the same, as the number of requests is
// the same process, and does not depend on the law, as the queue is symmetric (Kelly, Reversibility and Stochastic Networks,
// 1979, 3.3).
func TestShared(t *testing.T) {
	assert.InDelta(t, 0.8, erlangC(1, 0.8), 1e-12)
	for _, n := range []int{2, 16} {
		const load = 0.8
		want := 1 + erlangC(n, load)/(float64(n)*(1-load))
		agrees(t, want, simulate(t, queue(n, load, Exponential, FCFS, Shared))[Response], 0.03, n)
		agrees(t, want, simulate(t, queue(n, load, Exponential, PS, Shared))[Response], 0.03, n)
		agrees(t, want, simulate(t, queue(n, load, Bimodal, PS, Shared))[Response], 0.12, n)
	}
}

// TestHash is N independent M/M/1.
func TestHash(t *testing.T) {
	const load = 0.8
	o := simulate(t, queue(16, load, Exponential, FCFS, Hash))
	agrees(t, 1/(1-load), o[Response], 0.05)
	agrees(t, math.Log(100)/(1-load), o[P99], 0.1)
	agrees(t, 1/(1-load), simulate(t, queue(16, load, Bimodal, PS, Hash))[Response], 0.1)
}

// TestRoundRobin is E_N/M/1 for each worker: the mean response is 1/(mu(1-sigma)) where sigma = A*(mu(1-sigma)), with the
// Laplace transform A* of an Erlang law of N stages (Kleinrock I, 6.4).
func TestRoundRobin(t *testing.T) {
	const n, load = 4, 0.8
	sigma := 0.5
	for range 200 {
		sigma = math.Pow(n*load/(n*load+1-sigma), n)
	}
	agrees(t, 1/(1-sigma), simulate(t, queue(n, load, Exponential, FCFS, RoundRobin))[Response], 0.04)
}

// TestBestOfTwo is the supermarket model: as N grows, the share of workers with k requests or more goes to rho^(2^k-1)
// (Vvedenskaya, Dobrushin and Karpelevich 1996; Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
// It differs by something like 1/N, and 3 % are allowed, times k as large ones are rare.
func TestBestOfTwo(t *testing.T) {
	const n, load, most, tolerance = 512, 0.9, 5, 0.03
	for _, d := range []Discipline{FCFS, PS} {
		s := queue(n, load, Exponential, d, BestOfTwo)
		s.Warmup, s.Duration = 200, 800
		r := newRun(s, 0)
		atLeast, looks := [most + 1]float64{}, 0.0
		for timer, now, more := r.next(); more; timer, now, more = r.next() {
			// An arrival sees what is there at any time.
			if timer == len(r.crew)+arrival && r.counts(now) && r.arrivals.IntN(n) == 0 {
				looks += n
				for i := range r.crew {
					for k := range min(most, requests(&r.crew[i])) + 1 {
						atLeast[k]++
					}
				}
			}
			r.ring(timer, now)
		}
		f, err := r.tally.figures()
		require.NoError(t, err)
		mean := 0.0
		for k := 1; k <= most; k++ {
			want := math.Pow(load, math.Exp2(float64(k))-1)
			assert.InEpsilon(t, want, atLeast[k]/looks, tolerance*float64(k), "%v with %d or more", d, k)
		}
		for k := range 10 {
			mean += math.Pow(load, math.Exp2(float64(k+1))-2)
		}
		assert.InEpsilon(t, mean, f[Response], tolerance, d)
	}
}

// TestLeastLoaded is the shortest of two queues, whose Markov chain is solved here: with few choices it is also the best
// of two.
func TestLeastLoaded(t *testing.T) {
	const load = 0.8
	want := shortestOfTwo(load)
	agrees(t, want, simulate(t, queue(2, load, Exponential, FCFS, LeastLoaded))[Response], 0.03)
	agrees(t, want, simulate(t, queue(2, load, Exponential, FCFS, BestOfTwo))[Response], 0.03)
	agrees(t, want, simulate(t, queue(2, load, Exponential, PS, LeastLoaded))[Response], 0.03)
}

// shortestOfTwo returns the mean response where requests join the shorter one of two queues of M/M/1: the stationary
// distribution by iteration of the uniformized chain, cut at a length that is never reached, and Little's law.
func shortestOfTwo(load float64) float64 {
	const most = 40
	lambda := 2 * load
	step := 1 / (lambda + 2)
	var p [most + 1][most + 1]float64
	p[0][0] = 1
	for range 3000 {
		var next [most + 1][most + 1]float64
		for i := range p {
			for j, here := range p[i] {
				up := here * lambda * step / 2 // half of the arrivals, where the queues are equal
				a, b := min(i+1, most), min(j+1, most)
				switch {
				case i < j:
					next[a][j] += 2 * up
				case j < i:
					next[i][b] += 2 * up
				default:
					next[a][j] += up
					next[i][b] += up
				}
				next[max(i-1, 0)][j] += here * step
				next[i][max(j-1, 0)] += here * step
			}
		}
		p = next
	}
	mean := 0.0
	for i := range p {
		for j, here := range p[i] {
			mean += here * float64(i+j)
		}
	}
	return mean / lambda
}

// crowds returns the probability that none of n workers gets more than most of c connections by the hash:
// c!/n^c times the coefficient of x^c in (sum of x^j/j! for j to most)^n, here by adding one worker after the other.
func crowds(c, n, most int) float64 {
	p := make([]float64, c+1) // that k connections are on the workers so far, and none has more
	p[0] = 1
	for worker := range n {
		share := 1 / float64(n-worker) // of the next one in what the workers so far have not got
		next := make([]float64, c+1)
		for k, here := range p {
			for j := range min(most, c-k) + 1 {
				next[k+j] += here * binomial(c-k, j, share)
			}
		}
		p = next
	}
	return p[c]
}

func binomial(n, k int, p float64) float64 {
	if p == 1 {
		return map[bool]float64{true: 1}[n == k]
	}
	return math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) +
		float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

func logFactorial(n int) float64 {
	l, _ := math.Lgamma(float64(n + 1))
	return l
}

// TestHashOfConnections are balls in bins: the mean of the most that a worker gets, and how often one gets none.
func TestHashOfConnections(t *testing.T) {
	for _, c := range []struct{ connections, workers int }{{8, 4}, {32, 8}, {128, 16}} {
		want := 0.0
		for most := range min(c.connections, 50) { // more on one worker never happens
			want += 1 - crowds(c.connections, c.workers, most)
		}
		var means, idle []float64
		for replication := range 10 {
			const times = 1000
			most, empty := 0.0, 0.0
			r := rand.New(rand.NewPCG(1, uint64(replication)))
			for range times {
				s := newSite(c.workers, r, Hash)
				newLinks(longLived(c.connections, c.workers, Hash), s, r)
				most += float64(slices.Max(s.open))
				if slices.Min(s.open) == 0 {
					empty++
				}
			}
			means, idle = append(means, most/times), append(idle, empty/times)
		}
		agrees(t, want, estimate(means), 0.02)
		if c.workers == 4 {
			agrees(t, 4*math.Pow(3./4, 8)-6*math.Pow(2./4, 8)+4*math.Pow(1./4, 8), estimate(idle), 0.05)
		}
	}
}

// TestOverloaded counts the requests whose worker has so many of the equal connections that it cannot keep up: itself and
// a binomial number of the others.
func TestOverloaded(t *testing.T) {
	const connections, workers = 32, 8 // 0.15 for each, so that 7 are too many
	want := 1.0
	for others := range 6 {
		want -= binomial(connections-1, others, 1./workers)
	}
	s := longLived(connections, workers, Hash)
	s.Life = 20 // only to see many placements in a short time
	agrees(t, want, simulate(t, s)[Overloaded], 0.1)
	s.Policy = LeastLoaded
	assert.Zero(t, simulate(t, s)[Overloaded].Mean)
}

// TestConnectionsSpread has so many of them that each request might have its own.
func TestConnectionsSpread(t *testing.T) {
	s := longLived(8192, 8, LeastLoaded)
	s.Life = 0
	agrees(t, 1/(1-s.Load), simulate(t, s)[Response], 0.05)
	s.Policy = Shared
	agrees(t, 1+erlangC(8, s.Load)/(8*(1-s.Load)), simulate(t, s)[Response], 0.03)
}

// TestOrderOfPolicies holds weights between the hash, which they are when they are seldom renewed, and the shortest queue.
func TestOrderOfPolicies(t *testing.T) {
	of := func(p Policy, every float64) Estimate {
		s := queue(16, 0.8, Exponential, PS, p)
		s.Every = every
		s.Duration /= 4
		return simulate(t, s)[Response]
	}
	better := func(a, b Estimate, what string) {
		t.Helper()
		assert.Less(t, a.Mean+a.HalfWidth, b.Mean-b.HalfWidth, what)
	}
	hash, seldom, often, always := of(Hash, 0), of(Weights, 1e5), of(Weights, 10), of(Weights, 0.02)
	least := of(LeastLoaded, 0)
	agrees(t, hash.Mean, seldom, 0.1)
	better(often, hash, "weights against hash")
	better(always, often, "weights that are renewed more often")
	assert.InEpsilon(t, least.Mean, always.Mean, 0.05)
	better(of(Shared, 0), least, "shared against the shortest queue")
	better(of(BestOfTwo, 0), often, "best of two against weights")
	better(least, of(BestOfTwo, 0), "the shortest queue against the best of two")
	better(of(RoundRobin, 0), hash, "round robin against hash")
}
