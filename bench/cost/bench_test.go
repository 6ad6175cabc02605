//go:build linux

package cost

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// The test binary is also the servers and the load, as the program is.
func TestMain(m *testing.M) {
	child.Become(roles.All(), load.Roles())
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil { // or each process takes a second to end
		panic(err)
	}
	os.Exit(leaktest.Run(m))
}

func TestMedianAndSpread(t *testing.T) {
	assert.InDelta(t, 3, median([]float64{5, 1, 3}), 0)
	assert.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
	assert.InDelta(t, 7, median([]float64{7}), 0)
	assert.Equal(t, "2.000 to 4.000", spread([]float64{5, 4, 3, 2, 1}))
	assert.Equal(t, "7.000 to 7.000", spread([]float64{7}))
	assert.Equal(t, "0.00123 to 12.000", spread([]float64{0.001234, 12}))
}

func TestDigits(t *testing.T) {
	for want, v := range map[string]float64{
		"0.0": 0, "0.512": 0.512, "-0.0512": -0.0512, "5.12": 5.123, "51.2": 51.23, "10512.3": 10512.34,
	} {
		assert.Equal(t, want, digits(1, v))
	}
	assert.Equal(t, "927", digits(0, 927.4))
}

func TestCompare(t *testing.T) {
	p, err := startPair(2)
	require.NoError(t, err)
	defer func() { assert.NoError(t, p.stop()) }()
	for _, short := range []bool{false, true} {
		plan := load.Plan{Connections: 4, Duration: 100 * time.Millisecond, KeepAlive: !short}
		baseline, ours, err := p.compare(t.Context(), 2, func(ctx context.Context, s *server) (roles.Result, error) { return s.measure(ctx, plan) })
		require.NoError(t, err)
		require.Len(t, baseline.results, 2, "the first of each comparison does not count")
		require.Len(t, ours.results, 2)
		for _, r := range append(baseline.results, ours.results...) {
			assert.Positive(t, r.Requests)
			assert.Zero(t, r.Failures)
			assert.GreaterOrEqual(t, r.Elapsed, 100*time.Millisecond)
			assert.Positive(t, r.P50)
			assert.GreaterOrEqual(t, r.P99, r.P50)
			assert.Positive(t, r.CPU)
		}
		for _, row := range overheadRows(baseline, ours) {
			assert.Len(t, row, 5)
		}
	}
	assert.Greater(t, p.baseline.memory(), 1.0)
	assert.Greater(t, p.ours.memory(), 1.0)
}

// TestLoadTellsFailures loads a port that nobody serves any more.
func TestLoadTellsFailures(t *testing.T) {
	s, err := startServer(roles.PlainRole, 0)
	require.NoError(t, err)
	require.NoError(t, s.stop())
	var r roles.Result
	for duration := 10 * time.Millisecond; r.Failures == 0; duration *= 4 { // a busy machine may not send for longer
		require.Less(t, duration, time.Minute)
		r, err = s.measure(t.Context(), load.Plan{Connections: 1, Duration: duration})
	}
	require.ErrorContains(t, err, "requests failed")
	assert.Zero(t, r.Requests)
	assert.Positive(t, r.Failures)
}

func TestRestartOnce(t *testing.T) {
	took, err := restartOnce(t.Context())
	require.NoError(t, err)
	assert.Positive(t, took)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-duration", "-1s"}, {"-connections", "x"}, {"-only", "x"}, {"-slice", "0"}, {"-stall", "0"}, {"-gomaxprocs", "1,0"}} {
		var out, errs bytes.Buffer
		require.ErrorIs(t, Run(t.Context(), args, &out, &errs), command.ErrUsage, args)
		assert.NotEmpty(t, errs.String())
	}
}
