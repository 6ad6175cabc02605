package sim

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// queue is one worker, or several with a connection for each request.
func queue(workers int, load float64, law Law, d Discipline, p Policy) Scenario {
	const requests = 50e3
	duration := requests / (load * float64(workers))
	return Scenario{
		Workers: workers, Load: load, Law: law, Discipline: d, Policy: p,
		Warmup: duration / 10, Duration: duration, Replications: 8, Seed: 1,
	}
}

func simulate(t *testing.T, s Scenario) Outcome {
	t.Helper()
	c := Cell{Scenario: s}
	require.NoError(t, Simulate(t.Context(), &c))
	return c.Outcome
}

// agrees fails when an estimate is not what theory says: further away than twice the half-width of its interval, which
// for a right simulator happens with two seeds in a thousand, or too vague to tell.
func agrees(t *testing.T, want float64, got Estimate, vague float64, what ...any) {
	t.Helper()
	assert.InDelta(t, want, got.Mean, 2*got.HalfWidth+1e-9, fmt.Sprint(what...))
	assert.LessOrEqual(t, got.HalfWidth, vague*want, fmt.Sprint(what...))
}

// secondMoment returns E[S^2].
func secondMoment(law Law) float64 {
	switch law {
	case Deterministic:
		return 1
	case Exponential:
		return 2
	case Bimodal:
		const short = 1 / 1.49
		return 0.99*short*short + 0.01*50*50*short*short
	default: // Pareto: E[S^n] = a least^a (most^(n-a) - least^(n-a)) / (n-a) / (1 - (least/most)^a)
		const a, most = 1.5, 1000
		moment := func(n float64) float64 { return a / (n - a) * (math.Pow(most, n-a) - 1) / (1 - math.Pow(most, -a)) }
		return moment(2) / (moment(1) * moment(1))
	}
}

// brief is a scenario that takes no time.
func brief(p Policy) Scenario {
	return Scenario{
		Workers: 4, Load: 0.7, Law: Exponential, Discipline: PS, Policy: p, Every: 10,
		Warmup: 100, Duration: 2000, Replications: 3, Seed: 5,
	}
}

func ExampleSimulate() {
	s := Scenario{
		Workers: 64, Load: 0.8, Law: Exponential, Discipline: PS,
		Warmup: 200, Duration: 1000, Replications: 5, Seed: 1,
	}
	for _, s.Policy = range []Policy{Hash, BestOfTwo} {
		c := Cell{Scenario: s}
		if err := Simulate(context.Background(), &c); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %.0f\n", s.Policy, c.Outcome[Response].Mean)
	}
	// Output:
	// hash: 5
	// best-of-two: 2
}

// TestSimulateRepeats gives the same to the last digit, however many CPUs there are, and something else for another seed.
func TestSimulateRepeats(t *testing.T) {
	for policy := range policies {
		first := simulate(t, brief(policy))
		before := runtime.GOMAXPROCS(1)
		second := simulate(t, brief(policy))
		runtime.GOMAXPROCS(before)
		assert.Equal(t, first, second, policy)
		s := brief(policy)
		s.Seed++
		assert.NotEqual(t, first[Response], simulate(t, s)[Response], policy)
	}
}

// TestSameRequestsForAll meets each policy with the same arrivals and demands.
func TestSameRequestsForAll(t *testing.T) {
	for _, connections := range []int{0, 16} {
		var want []float64
		for policy := range policies {
			s := brief(policy)
			s.Connections, s.Life = connections, 50
			r := newRun(s, 1)
			demands := 0.0
			watch(r, func(demand, _ float64) { demands += demand })
			got := []float64{float64(r.tally.requests), demands}
			if want == nil {
				want = got
			}
			assert.InDeltaSlice(t, want, got, 1e-6, policy)
		}
	}
}

// watch runs r to its end, and calls done for each request that counts.
func watch(r *run, done func(demand, response float64)) {
	for {
		timer, now, more := r.next()
		if !more {
			return
		}
		if timer < len(r.crew) {
			if first := r.crew[timer].first(); r.counts(first.arrived) {
				done(first.demand, now-first.arrived)
			}
		}
		r.ring(timer, now)
	}
}

// TestUtilization is the law that CPUs are busy for a share of the time that is the load.
func TestUtilization(t *testing.T) {
	for policy := range policies {
		var shares []float64
		for replication := range 5 {
			s := brief(policy)
			s.Warmup, s.Duration = 0, 5000
			r := newRun(s, replication)
			_, err := r.do(t.Context())
			require.NoError(t, err)
			busy, end := 0.0, 0.0
			for _, w := range r.crew {
				busy += w.busy
				end = max(end, w.now)
			}
			shares = append(shares, busy/(4*end))
		}
		agrees(t, 0.7, estimate(shares), 0.02, policy)
	}
}

// TestWarmupDoesNotCount holds when a request counts, and that each window does.
func TestWarmupDoesNotCount(t *testing.T) {
	s := brief(Hash)
	s.Warmup, s.Duration = 20000, 10000
	r := newRun(s, 0)
	_, err := r.do(t.Context())
	require.NoError(t, err)
	expected := s.Load * float64(s.Workers) * s.Duration
	assert.InDelta(t, expected, r.tally.requests, 5*math.Sqrt(expected))
	assert.Equal(t, int(s.Duration/windowTime), r.tally.windows)
}

// TestTallyWindow compares CPUs that were busy for 1, 2 and 3 of some time.
func TestTallyWindow(t *testing.T) {
	crew := []worker{{busy: 7}, {busy: 7}, {busy: 7}}
	tally := newTally(3)
	tally.elapsed(crew, 0)
	for i := range crew {
		crew[i].busy += float64(i + 1)
	}
	tally.window(crew, 0)
	assert.InDelta(t, 36./42, tally.jain, 1e-12)
	assert.InDelta(t, 1.5, tally.peak, 1e-12)
	tally.window(crew, 0)
	assert.Equal(t, 1, tally.windows, "nobody did anything in the second one")
}

func TestTally(t *testing.T) {
	tally := newTally(1)
	_, err := tally.figures()
	require.Error(t, err, "there is nothing")
	tally.windows = 1
	for i := range 1000 {
		tally.add(2, float64(i+1))
	}
	f, err := tally.figures()
	require.NoError(t, err)
	assert.InDelta(t, 500.5, f[Response], 1e-9)
	assert.InDelta(t, 250.25, f[Slowdown], 1e-9)
	assert.InEpsilon(t, 500, f[P50], 0.001)
	assert.InEpsilon(t, 990, f[P99], 0.001)
	assert.InEpsilon(t, 999, f[P999], 0.001)
	assert.InDelta(t, 1000, f[Max], 0)
}

func TestEstimate(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		student float64 // the 97.5 % quantile of Student's t, from a table
	}{{[]float64{2, 3, 4}, 4.303}, {[]float64{1, 2, 3, 4, 5}, 2.776}} {
		e := estimate(c.values)
		n := float64(len(c.values))
		assert.InDelta(t, 3, e.Mean, 1e-12)
		assert.InDelta(t, c.student*math.Sqrt((n+1)*n/12/n), e.HalfWidth, 1e-3)
	}
}

// lateCancel is a context that is canceled when it has been asked ten times.
type lateCancel struct {
	context.Context
	asked int
}

func (c *lateCancel) Err() error {
	if c.asked++; c.asked > 10 {
		return context.Canceled
	}
	return nil
}

// TestRunObeysContext would run forever.
func TestRunObeysContext(t *testing.T) {
	s := brief(Hash)
	s.Duration = 1e12
	_, err := newRun(s, 0).do(&lateCancel{Context: t.Context()})
	require.ErrorIs(t, err, context.Canceled)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Simulate(ctx, &Cell{Scenario: s}), context.Canceled)
}

// quick makes a plan that takes no time.
func quick(experiments []Experiment) []Experiment {
	for _, c := range cellsOf(experiments) {
		c.Scenario.Warmup, c.Scenario.Duration, c.Scenario.Replications = 10, 50, 2
	}
	return experiments
}

// TestTables prints a row for each policy and a column for each value, in each table.
func TestTables(t *testing.T) {
	p := Plan{Seed: 1, Replications: 2, Requests: 1}
	experiments := quick(p.Experiments())
	var out bytes.Buffer
	require.NoError(t, p.report(t.Context(), experiments, &out))
	blocks := strings.Split(strings.TrimSpace(out.String()), "\n\n")
	assert.Contains(t, blocks[0], "seed 1, 2 replications")
	blocks = blocks[1:]
	for _, e := range experiments {
		tables := 1
		if e.Axis != "" {
			tables = len(e.tables)
		}
		require.GreaterOrEqual(t, len(blocks), tables, e.Name)
		for _, block := range blocks[:tables] {
			lines := strings.Split(block, "\n")
			require.Len(t, lines, 2+len(e.Policies), block)
			assert.Contains(t, lines[0], e.Name+": ")
			for i, policy := range []string{"hash", "round-robin", "weights/1000", "weights/100", "weights/10", "best-of-two", "watched", "least-loaded", "shared"} {
				assert.Equal(t, policy, strings.Fields(lines[2+i])[0])
			}
		}
		blocks = blocks[tables:]
	}
	assert.Empty(t, blocks)
}

func TestUsage(t *testing.T) {
	for args, complaint := range map[string]string{
		"-nonsense":            "-nonsense",
		"argument":             `unexpected argument "argument"`,
		"-only nothing":        `no experiment "nothing", have workers, metrics, load`,
		"-replications 1":      "-replications must lie between",
		"-replications 100000": "-replications must lie between",
	} {
		var stdout, stderr bytes.Buffer
		require.ErrorIs(t, Run(t.Context(), strings.Fields(args), &stdout, &stderr), command.ErrUsage, args)
		assert.Contains(t, stderr.String(), complaint)
		assert.Empty(t, stdout.String())
	}
	var stderr bytes.Buffer
	require.ErrorIs(t, Run(t.Context(), []string{"-h"}, &stderr, &stderr), flag.ErrHelp)
	assert.Contains(t, stderr.String(), "-full")
}
