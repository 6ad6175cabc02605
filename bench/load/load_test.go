package load

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// The test binary is also the load and the server of checks, as the program is.
func TestMain(m *testing.M) {
	child.Become(Roles())
	os.Exit(leaktest.Run(m))
}

func TestPlanRefuses(t *testing.T) {
	good := Plan{Addrs: []string{"127.0.0.1:80"}, Connections: 1, KeepAlive: true, Duration: time.Second}
	_, err := good.withDefaults()
	require.NoError(t, err)
	for name, spoil := range map[string]func(*Plan){
		"not on the loopback interface": func(p *Plan) { p.Addrs = []string{"192.0.2.1:80"} },
		"missing port":                  func(p *Plan) { p.Addrs = []string{"127.0.0.1"} },
		"must begin with /":             func(p *Plan) { p.Path = "index.html" },
		"neither spaces":                func(p *Plan) { p.Path = "/ HTTP/1.1\r\nX: y" },
		"0 connections":                 func(p *Plan) { p.Connections = 0 },
		"10001 connections":             func(p *Plan) { p.Connections = maxInFlight + 1 },
		"a rate of -1":                  func(p *Plan) { p.Rate = -1 },
		"uneven rates":                  func(p *Plan) { p.Uneven = true },
		"slow requests":                 func(p *Plan) { p.Cost.SlowShare = 1.5 },
		"no KeepAlive":                  func(p *Plan) { p.Burst, p.Rate = 10, 10 },
		"take a Rate":                   func(p *Plan) { p.Burst, p.KeepAlive = 10, false },
		"a burst of 20000":              func(p *Plan) { p.Burst, p.Rate, p.KeepAlive = 20000, 10, false },
		"only a closed loop":            func(p *Plan) { p.Strict, p.Rate = new(Strict), 1 },
		"durations must be positive":    func(p *Plan) { p.Duration = 0 },
	} {
		p := good
		spoil(&p)
		_, err := p.withDefaults()
		assert.ErrorContains(t, err, name)
	}
}

func TestPlanMessage(t *testing.T) {
	p := Plan{Addrs: []string{"127.0.0.1:80"}, Path: "/a?b=c", KeepAlive: true}
	assert.Equal(t, "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n", string(p.message(0)))
	assert.Equal(t, "GET /a?b=c&burn=2000 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n", string(p.message(2*time.Millisecond)))
	p = Plan{Addrs: []string{"127.0.0.1:80"}, Path: "/"}
	assert.Equal(t, "GET /?burn=7 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n\r\n", string(p.message(7*time.Microsecond)))
}

func TestResultJSON(t *testing.T) {
	tally := newTally(time.Second, 3*time.Second)
	tally.answered(500*time.Millisecond, 1500*time.Millisecond, []byte("a"), true) // in the warm-up
	for i := range 1000 {
		due := time.Second + time.Duration(i)*time.Millisecond
		tally.sent(due, time.Duration(i)*time.Microsecond)
		tally.answered(due, due+time.Duration(i)*time.Millisecond, []byte("a"), i == 0)
	}
	tally.answered(2*time.Second, 2*time.Second+5*time.Minute, nil, true) // more than the histogram holds
	tally.failed(2*time.Second, Reset)
	tally.failed(4*time.Second, Reset) // after the end
	r := tally.result()

	assert.EqualValues(t, 1001, r.Requests)
	assert.EqualValues(t, 1, r.Failures())
	assert.Equal(t, map[string]int64{"a": 1000, "": 1}, r.ByWorker)
	assert.Equal(t, map[string]int64{"a": 1, "": 1}, r.ConnsByWorker)
	assert.Equal(t, 2*time.Second, r.Elapsed)
	assert.InDelta(t, 500.5, r.Rate, 0.6, "the one of the warm-up was answered in time, too")
	assert.InDelta(t, 500*time.Millisecond, r.Quantile(50), 1e6)
	assert.InDelta(t, time.Minute, r.Quantile(100), 1e8)
	assert.InDelta(t, 990*time.Microsecond, r.Late, 2e3)

	text, err := json.Marshal(r)
	require.NoError(t, err)
	assert.Less(t, len(text), 10_000)
	var back Result
	require.NoError(t, json.Unmarshal(text, &back))
	assert.True(t, r.Latency.Equals(back.Latency.Histogram))
	back.Latency = r.Latency
	assert.Equal(t, r, back)
}

func TestRunUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"ftp://127.0.0.1/"}, {"http://192.0.2.1/"}, {"http://127.0.0.1/", "-rate", "x"}, {"http://127.0.0.1/", "-connections", "0"}} {
		var stderr bytes.Buffer
		require.ErrorIs(t, Run(t.Context(), args, &stderr, &stderr), command.ErrUsage, "%v", args)
		assert.NotEmpty(t, stderr.String())
	}
	var stderr bytes.Buffer
	err := Run(t.Context(), []string{"-h"}, &stderr, &stderr)
	require.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, stderr.String(), "bench load URL")
}

func TestPlanString(t *testing.T) {
	p, err := parsePlan([]string{"http://localhost/x?y", "-rate", "100", "-connections", "7"}, os.Stderr)
	require.NoError(t, err)
	assert.Equal(t, []string{"localhost:80"}, p.Addrs)
	assert.Equal(t, "/x?y", p.Path)
	assert.Equal(t, "open loop at 100/s of 7 connections, 10s after 1s of warm-up", p.String())
	p, err = parsePlan([]string{"-keep-alive=false", "-warmup", "0", "http://[::1]:8080"}, os.Stderr)
	require.NoError(t, err)
	assert.Equal(t, []string{"[::1]:8080"}, p.Addrs)
	assert.Equal(t, "closed loop of 32 connections, a connection for each request, 10s after 0s of warm-up", p.String())
}
