//go:build linux

package cost

import (
	"bytes"
	"io"
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
	assert.Equal(t, "2.000 to 4.000", spread(3, []float64{5, 4, 3, 2, 1}))
	assert.Equal(t, "7.000 to 7.000", spread(3, []float64{7}))
	assert.Equal(t, "0.00123 to 12.000", spread(3, []float64{0.001234, 12}))
}

func TestDigits(t *testing.T) {
	for want, v := range map[string]float64{
		"0.0": 0, "0.512": 0.512, "-0.0512": -0.0512, "5.12": 5.123, "51.2": 51.23, "10512.3": 10512.34,
	} {
		assert.Equal(t, want, digits(1, v))
	}
	assert.Equal(t, "927", digits(0, 927.4))
}

func TestLoad(t *testing.T) {
	for _, keep := range []bool{true, false} {
		plan := load.Plan{Connections: 4, Duration: 100 * time.Millisecond, KeepAlive: keep}
		err := tiny().hold(t.Context(), io.Discard, contest{
			rounds:  2,
			systems: []roles.Player{{System: roles.Plain}, {System: roles.Cluster, Peers: 2}},
			entries: func(teams []*team) []*contestant {
				for _, team := range teams {
					var r roles.Result
					require.NoError(t, memory(t.Context(), team, &r))
					assert.Greater(t, r.Memory, 1.0)
				}
				return each(func(t *team) measureFunc { return t.load(plan) }, roles.Plain, roles.Cluster)(teams)
			},
			print: func(_ io.Writer, all []*contestant) {
				require.Len(t, all[0].results, 2, "the first of each comparison does not count")
				require.Len(t, all[1].results, 2)
				for _, r := range append(all[0].results, all[1].results...) {
					assert.Positive(t, r.Requests)
					assert.Zero(t, r.Failures)
					assert.GreaterOrEqual(t, r.Elapsed, 100*time.Millisecond)
					assert.Positive(t, r.P50)
					assert.GreaterOrEqual(t, r.P99, r.P50)
					assert.Positive(t, r.CPU)
				}
				for _, row := range loadRows(all) {
					assert.Len(t, row, 5)
				}
			},
		})
		require.NoError(t, err)
	}
}

// TestLoadTellsFailures loads a port that nobody serves any more.
func TestLoadTellsFailures(t *testing.T) {
	s, err := tiny().startTeam(t.Context(), roles.Player{System: roles.Plain})
	require.NoError(t, err)
	require.NoError(t, s.stop())
	var r roles.Result
	for duration := 10 * time.Millisecond; r.Failures == 0; duration *= 4 { // a busy machine may not send for longer
		require.Less(t, duration, time.Minute)
		r, err = s.load(load.Plan{Connections: 1, Duration: duration})(t.Context())
	}
	require.ErrorContains(t, err, "requests failed")
	assert.Zero(t, r.Requests)
	assert.Positive(t, r.Failures)
}

func TestRestart(t *testing.T) {
	r, err := tiny().once("", roles.Player{System: roles.Cluster, Peers: 2}, restart).measure(t.Context())
	require.NoError(t, err)
	assert.Positive(t, r.Elapsed)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-duration", "-1s"}, {"-connections", "x"}, {"-only", "x"}, {"-slice", "0"}, {"-stall", "0"}, {"-gomaxprocs", "1,0"}} {
		var out, errs bytes.Buffer
		require.ErrorIs(t, Run(t.Context(), args, &out, &errs), command.ErrUsage, args)
		assert.NotEmpty(t, errs.String())
	}
}
