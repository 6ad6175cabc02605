package compare

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/bench/report"
	"github.com/multinode-go/multinode/bench/ways"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// The test binary is also the servers and the load, as the program is.
func TestMain(m *testing.M) {
	child.Become(load.Roles(), ways.Roles())
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil { // or each process takes a second to end
		panic(err)
	}
	os.Exit(leaktest.Run(m))
}

// compared runs the command, and returns what it has written.
func compared(t *testing.T, args ...string) (*report.Document, string) {
	t.Helper()
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	require.NoError(t, Run(t.Context(), append([]string{"-o", dir}, args...), &stdout, &stderr), stderr.String())
	for _, name := range []string{"index.html", "charts/*.svg"} {
		found, err := filepath.Glob(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.NotEmpty(t, found, name)
	}
	path := filepath.Join(dir, "report.json")
	d, err := read(path)
	require.NoError(t, err)
	again := t.TempDir()
	require.NoError(t, Run(t.Context(), []string{"-from", path, "-o", again}, &stdout, &stderr))
	assert.FileExists(t, filepath.Join(again, "index.html"))
	var agreement bytes.Buffer
	require.NoError(t, Agree(t.Context(), []string{path, filepath.Join(again, "report.json")}, &agreement, &stderr))
	assert.Contains(t, agreement.String(), "agree")
	require.ErrorIs(t, Agree(t.Context(), []string{path}, &agreement, &stderr), command.ErrUsage)
	return d, stdout.String()
}

// comparedLongEnough compares until all servers have answered, and used CPU time, which the kernel counts in ticks: a slow
// machine does too little in a short time.
func comparedLongEnough(t *testing.T) (*report.Document, string) {
	t.Helper()
	for duration := 200 * time.Millisecond; ; duration *= 4 {
		d, text := compared(t, "-rounds", "2", "-duration", duration.String(), "-workers", "2", "-ways", "multinode,master-accept-lc",
			"short", "few-8", "burst")
		isIdle := func(s report.Sample) bool {
			return s.Figures[report.CPU] == 0 || s.Figures[report.RequestsPerSecond] == 0
		}
		if !slices.ContainsFunc(d.Cells, func(c report.Cell) bool { return slices.ContainsFunc(c.Samples, isIdle) }) {
			return d, text
		}
		require.Less(t, duration, time.Minute, "a server has done nothing")
	}
}

// lost returns the requests that failed otherwise than as the machine is slow, by reason: it may need longer to answer, or to send.
func lost(s report.Sample) map[string]int64 {
	failures := maps.Clone(s.Failures)
	delete(failures, load.Timeout)
	delete(failures, load.NotSent)
	return failures
}

func TestCompare(t *testing.T) {
	d, text := comparedLongEnough(t)
	require.Len(t, d.Cells, 9)
	for _, c := range d.Cells {
		require.Empty(t, c.Problem, c.Way)
		require.Len(t, c.Samples, 2)
		for _, s := range c.Samples {
			f := s.Figures
			assert.Positive(t, f[report.RequestsPerSecond], "%s %s", c.Pattern, c.Way)
			assert.Positive(t, f[report.P50])
			assert.GreaterOrEqual(t, f[report.Max], f[report.P99])
			assert.Positive(t, f[report.CPU])
			assert.InDelta(t, f[report.CPU], f[report.CPUUser]+f[report.CPUSystem], 0.001)
			assert.Greater(t, f[report.RSS], 1.0)
			assert.Greater(t, f[report.PSS], 1.0)
			assert.Empty(t, lost(s))
			assert.NotEmpty(t, s.Latency)
			_, fair := f[report.RequestsJain]
			assert.Equal(t, c.Way != baseline, fair, "one process is not unfair")
		}
	}
	assert.Contains(t, text, "master-accept-lc")
	assert.Positive(t, d.Machine.CPUs)
	assert.NotEmpty(t, d.Machine.Kernel)
	assert.NotEmpty(t, d.Machine.CPU)
}

// comparedInTime repeats the comparison until a request of the baseline meets the stall.
func comparedInTime(t *testing.T) *report.Document {
	t.Helper()
	for tries := 0; ; tries++ {
		d, _ := compared(t, "-rounds", "1", "-ways", "multinode", "stall", "restart")
		isLate := func(c report.Cell) bool {
			return c.Pattern == "stall" && c.Way == baseline && c.Samples[0].Figures[report.Max] <= milliseconds(stall/2)
		}
		if !slices.ContainsFunc(d.Cells, isLate) {
			return d
		}
		require.Less(t, tries, 20, "nobody waits")
	}
}

// TestEvents: a worker that stalls shows in the latency of its requests, and a restart in new workers.
func TestEvents(t *testing.T) {
	d := comparedInTime(t)
	require.Len(t, d.Cells, 4)
	for _, c := range d.Cells {
		require.Empty(t, c.Problem, "%s %s", c.Pattern, c.Way)
		f := c.Samples[0].Figures
		switch {
		case c.Pattern == "restart":
			assert.Positive(t, f[report.Restart])
		case c.Way == baseline:
			assert.Positive(t, f[report.QueueMax])
		}
		if c.Way == subject {
			assert.Empty(t, lost(c.Samples[0]), c.Pattern)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-workers", "0"}, {"-duration", "-1s"}, {"-ways", "apache"}, {"nonsense"}, {"short", "short"}, {"-x"},
	} {
		var stdout, stderr bytes.Buffer
		require.ErrorIs(t, Run(t.Context(), args, &stdout, &stderr), command.ErrUsage, args)
		assert.NotEmpty(t, stderr.String())
		assert.Empty(t, stdout.String())
	}
	var stdout, stderr bytes.Buffer
	require.ErrorIs(t, Run(t.Context(), []string{"-h"}, &stdout, &stderr), flag.ErrHelp)
	for _, p := range patterns() {
		assert.Contains(t, stderr.String(), p.Title)
	}
	require.ErrorIs(t, Run(t.Context(), []string{"-from", "/nonexistent"}, &stdout, &stderr), os.ErrNotExist)
}

func TestFairness(t *testing.T) {
	workers := []int{1, 2, 3, 4}
	maxMean, jain, deviation := fairnessOf(workers, map[string]int64{"1": 5, "2": 5, "3": 5, "4": 5})
	assert.Equal(t, []float64{1, 1, 0}, []float64{maxMean, jain, deviation})
	maxMean, jain, deviation = fairnessOf(workers, map[string]int64{"1": 8, "9": 100})
	assert.InDeltaSlice(t, []float64{4, 0.25, 1.732}, []float64{maxMean, jain, deviation}, 0.001)
}

// TestUsageOfAProcess burns CPU, and finds it.
func TestUsageOfAProcess(t *testing.T) {
	pids := []int{os.Getpid(), 1 << 30}
	before := usageOf(pids)
	const burned = 200 * time.Millisecond
	for begin := cpuTime(t); cpuTime(t)-begin < burned; {
	}
	used := usageOf(pids).since(before)
	assert.GreaterOrEqual(t, used.total, burned-10*time.Millisecond)
	assert.Equal(t, used.total, used.user+used.system)
	assert.Positive(t, used.user)
	rss, pss := proc.Memory(pids...)
	assert.Greater(t, rss, 1.0)
	assert.LessOrEqual(t, pss, rss)
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestProblems: what cannot be measured is told, and the rest goes on.
func TestProblems(t *testing.T) {
	c := config{rounds: 1, duration: 50 * time.Millisecond, workers: 2, patterns: patterns()[:1]}
	for _, w := range ways.All() {
		switch w.Name {
		case baseline:
			c.ways = append(c.ways, w)
		case "nginx":
			w.Lookup = func() error { return errors.New("nginx is not in PATH: apt-get install nginx-light") }
			c.ways = append(c.ways, w)
		}
	}
	var d report.Document
	var progress bytes.Buffer
	require.NoError(t, c.run(t.Context(), &d, &progress))
	require.Len(t, d.Cells, 1)
	assert.Contains(t, d.Ways[1].Missing, "apt-get")
}
