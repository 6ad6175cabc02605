package loss

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) {
	child.Become(Roles(), load.Roles())
	os.Exit(leaktest.Run(m))
}

// brief is as much as a test has time for. The long form is `make loss`.
var brief = config{
	Drains: 8, Connections: 200, Restarts: 8, Requests: 500, Delayed: 1, Clients: 4, Duration: 3 * time.Second, Closes: 300 * time.Millisecond,
	Untimed: true,
}

// prove fails when something does not hold.
func prove(t *testing.T, f func(context.Context, config, *report) error, c config) {
	t.Helper()
	var r report
	require.NoError(t, f(t.Context(), c, &r))
	var out bytes.Buffer
	r.print(&out, 0)
	t.Log(&out)
	assert.Empty(t, r.broken)
	assert.Greater(t, len(r.rows), 1)
	for _, row := range r.rows {
		assert.Len(t, row, len(r.rows[0]))
	}
}

func TestDrains(t *testing.T)  { prove(t, proveDrains, brief) }
func TestReloads(t *testing.T) { prove(t, proveReloads, brief) }
func TestCloses(t *testing.T)  { prove(t, proveCloses, brief) }

func TestAttach(t *testing.T) { prove(t, proveAttach, brief) }
func TestMaster(t *testing.T) { prove(t, proveMaster, brief) }

func TestTakeovers(t *testing.T) { prove(t, proveTakeovers, brief) }

// TestStopped takes as long as a hung worker has.
func TestStopped(t *testing.T) {
	t.Parallel()
	prove(t, proveStopped, brief)
}

func TestChaos(t *testing.T) {
	t.Parallel()
	c := brief
	c.Seed = rand.Uint64() // it is in the report
	prove(t, proveChaos, c)
}

func TestIntegrationDelayed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root: sudo go test -run Delayed ./bench/loss")
	}
	t.Parallel()
	prove(t, proveDelayed, brief)
}

// TestWithoutPrivilege proves a part as the program does: as another user, if this one is root.
func TestWithoutPrivilege(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	stage, err := newStage(&out, os.Stderr)
	require.NoError(t, err)
	defer stage.close()
	c := brief
	c.Drains, c.Restarts = 3, 3
	require.NoError(t, stage.prove(t.Context(), parts[0], c))
	assert.Contains(t, out.String(), "Drains of one of 4 nodes")
	assert.NotContains(t, out.String(), "BROKEN")
}

func TestCauses(t *testing.T) {
	const s = time.Second
	v := victims{all: []*victim{
		{what: killed, pid: 1, from: 10 * s, to: 10*s + 1e6},
		{what: stopped, pid: 2, from: 20 * s, to: 25 * s},
		{what: foreign, pid: 3, from: 30 * s},
	}}
	for name, c := range map[string]struct {
		failed load.Failure
		want   string
	}{
		"its connection":       {load.Failure{PID: 1, Begun: 9 * s, Failed: 10*s + 2e6}, "accepted by a killed worker"},
		"before it was killed": {load.Failure{PID: 1, Begun: 9 * s, Failed: 9*s + 1}, ""},
		"somebody else's":      {load.Failure{PID: 7, Begun: 9 * s, Failed: 10*s + 2e6}, ""},
		"in a queue":           {load.Failure{Begun: 10*s - 1, Failed: 10*s + 2e6}, "queued at a killed worker"},
		"in no queue":          {load.Failure{Begun: 14 * s, Failed: 15 * s}, ""},
		"long after":           {load.Failure{Begun: 10 * s, Failed: 13 * s}, ""},
		"of a stopped one":     {load.Failure{Begun: 21 * s, Failed: 25*s + 1}, "queued at a stopped worker"},
		"beside a stopped one": {load.Failure{Begun: 21 * s, Failed: 22 * s}, ""},
		"a stranger's":         {load.Failure{PID: 3, Begun: 40 * s, Failed: 41 * s}, "accepted by a stranger"},
	} {
		assert.Equal(t, c.want, v.cause(c.failed), name)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-drains", "0"}, {"-only", "x"}, {"-clients", "x"}, {"x"}} {
		var out, errs bytes.Buffer
		require.ErrorIs(t, Run(t.Context(), args, &out, &errs), command.ErrUsage, args)
		assert.NotEmpty(t, errs.String())
	}
	var out, errs bytes.Buffer
	require.ErrorIs(t, Chaos(t.Context(), []string{"-duration", "0"}, &out, &errs), command.ErrUsage)
	assert.NotEmpty(t, errs.String())
}
