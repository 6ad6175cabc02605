package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
	"github.com/multinode-go/multinode/internal/await"
)

// run carries out a plan in a process of its own.
func run(t *testing.T, addr string, p Plan) Result {
	t.Helper()
	p.Addrs = []string{addr}
	r, err := Start(t.Context(), p)
	require.NoError(t, err)
	result, err := r.Wait()
	require.NoError(t, err)
	t.Logf("%v: %+v", p, result)
	assert.Equal(t, result.Requests, result.Latency.TotalCount())
	return result
}

// due returns how many requests of a plan count.
func (p Plan) dueRequests() (n int64) {
	for _, a := range p.schedules() {
		for _, at := range a.until(p.Warmup + p.Duration) {
			if at >= p.Warmup {
				n++
			}
		}
	}
	return n
}

// site is a server of net/http, which counts.
type site struct {
	*httptest.Server
	requests, conns, burns atomic.Int64
}

func (s *site) addr() string { return s.Listener.Addr().String() }

func newSite(t *testing.T, serve http.HandlerFunc) *site {
	t.Helper()
	s := new(site)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if r.URL.Query().Get("burn") == "1500" {
			s.burns.Add(1)
		}
		w.Header().Set("Worker", "w")
		serve(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }

const (
	brief  = 300 * time.Millisecond
	before = 100 * time.Millisecond
)

func TestLoadClosedLoop(t *testing.T) {
	var s *site
	var r Result
	duration := brief
	for ; r.Rate == 0; duration *= 4 { // a busy machine answers all of them afterwards
		require.Less(t, duration, time.Minute)
		s = newSite(t, hello)
		r = run(t, s.addr(), Plan{Connections: 4, KeepAlive: true, Duration: duration})
	}
	assert.Empty(t, r.Failed)
	assert.Equal(t, s.requests.Load(), r.Requests, "without a warm-up all count")
	assert.EqualValues(t, 4, r.Connections)
	assert.EqualValues(t, 4, s.conns.Load())
	assert.Equal(t, map[string]int64{"w": r.Requests}, r.ByWorker)
	assert.Equal(t, map[string]int64{"w": 4}, r.ConnsByWorker)
}

func TestLoadClosedLoopShort(t *testing.T) {
	s := newSite(t, hello)
	r := run(t, s.addr(), Plan{Connections: 4, Warmup: before, Duration: brief})
	assert.Empty(t, r.Failed)
	assert.Positive(t, r.Requests)
	assert.Equal(t, s.requests.Load(), r.Connections, "each request has a connection")
	assert.Equal(t, map[string]int64{"w": r.Requests}, r.ConnsByWorker)
}

func TestLoadOpenLoop(t *testing.T) {
	for name, p := range map[string]Plan{
		"keep-alive": {Connections: 5, KeepAlive: true, Rate: 500},
		"uneven":     {Connections: 5, KeepAlive: true, Rate: 500, Uneven: true},
		"short":      {Rate: 500},
		"bursts":     {Burst: 20, Rate: 400},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, hello)
			p.Seed, p.Warmup, p.Duration = 5, before, brief
			r := run(t, s.addr(), p)
			assert.Empty(t, r.Failed)
			assert.Equal(t, p.dueRequests(), r.Requests, "all that was due, and nothing else")
			p.Warmup, p.Duration = 0, before+brief
			assert.Equal(t, p.dueRequests(), s.requests.Load())
			conns := s.requests.Load()
			if p.KeepAlive {
				conns = 5
			}
			assert.Equal(t, conns, s.conns.Load())
		})
	}
}

func TestLoadAsksForCost(t *testing.T) {
	s := newSite(t, hello)
	p := Plan{Connections: 2, KeepAlive: true, Rate: 1000, Duration: brief, Cost: Cost{Usual: time.Microsecond, Slow: 1500 * time.Microsecond, SlowShare: 0.25}}
	r := run(t, s.addr(), p)
	assert.InDelta(t, 0.25, float64(s.burns.Load())/float64(r.Requests), 0.1)
}

func TestLoadReadsAllKindsOfAnswers(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"chunked": func(w http.ResponseWriter, r *http.Request) {
			hello(w, r)
			w.(http.Flusher).Flush()
			hello(w, r)
		},
		"hints": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			hello(w, r)
		},
		"nothing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"large": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 1_000_000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, serve)
			r := run(t, s.addr(), Plan{Connections: 2, KeepAlive: true, Duration: brief})
			assert.Empty(t, r.Failed)
			assert.Positive(t, r.Requests)
			assert.EqualValues(t, 2, s.conns.Load())
		})
	}
}

func TestLoadOpensWhatTheServerCloses(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		hello(w, r)
	})
	r := run(t, s.addr(), Plan{Connections: 2, KeepAlive: true, Duration: brief})
	assert.Empty(t, r.Failed)
	assert.Zero(t, r.Retried, "it was told before")
	assert.Equal(t, s.requests.Load(), r.Connections)
}

// serveRaw accepts connections until the test ends, and serves each by a function that closes it.
func serveRaw(t *testing.T, serve func(n int, c *net.TCPConn, in *bufio.Reader)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		assert.NoError(t, l.Close())
		<-done
	})
	go func() { // ends with the listener
		defer close(done)
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the load
				defer c.Close()
				serve(n, c.(*net.TCPConn), bufio.NewReader(c))
			}()
		}
	}()
	return l.Addr().String()
}

// skipRequest reads a request. It returns false at the end of the connection.
func skipRequest(in *bufio.Reader) bool {
	r, err := http.ReadRequest(in)
	return err == nil && r.Body.Close() == nil
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestLoadRetriesOnce(t *testing.T) {
	addr := serveRaw(t, func(_ int, c *net.TCPConn, in *bufio.Reader) {
		for range 3 {
			if skipRequest(in) {
				_, _ = io.WriteString(c, okAnswer)
			}
		}
		skipRequest(in) // and the fourth finds a connection that is closed
	})
	r := run(t, addr, Plan{Connections: 2, KeepAlive: true, Duration: brief})
	assert.Empty(t, r.Failed)
	assert.Positive(t, r.Retried)
	assert.InDelta(t, r.Requests/3, r.Retried, 3)
}

func TestLoadDoesNotRetryTwice(t *testing.T) {
	addr := serveRaw(t, func(n int, c *net.TCPConn, in *bufio.Reader) {
		if skipRequest(in) && n%2 == 0 {
			_, _ = io.WriteString(c, okAnswer)
			skipRequest(in)
		}
	})
	for d := brief; ; d *= 2 { // a slow machine gets to one connection only
		r := run(t, addr, Plan{Connections: 1, KeepAlive: true, Duration: d})
		if r.Retried > 0 {
			assert.Equal(t, map[string]int64{EOF: r.Retried}, r.Failed)
			return
		}
		require.Less(t, d, await.Limit)
	}
}

func TestLoadFailures(t *testing.T) {
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0) }
	for kind, serve := range map[string]func(c *net.TCPConn){
		EOF:       func(c *net.TCPConn) { _, _ = io.WriteString(c, okAnswer[:len(okAnswer)-1]) },
		EOF + "2": func(*net.TCPConn) {},
		Reset:     reset,
		Reset + "2": func(c *net.TCPConn) {
			_, _ = io.WriteString(c, okAnswer[:10])
			reset(c)
		},
		Status:    func(c *net.TCPConn) { _, _ = io.WriteString(c, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") },
		Malformed: func(c *net.TCPConn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") },
		Timeout:   func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) },
	} {
		for _, keepAlive := range []bool{false, true} {
			t.Run(fmt.Sprint(kind, keepAlive), func(t *testing.T) {
				addr := serveRaw(t, func(_ int, c *net.TCPConn, in *bufio.Reader) {
					if skipRequest(in) {
						serve(c)
					}
				})
				p := Plan{Connections: 2, KeepAlive: keepAlive, Rate: 100, Seed: 1, Duration: brief}
				if kind == Timeout {
					p.Timeout = 50 * time.Millisecond
				}
				r := run(t, addr, p)
				assert.Zero(t, r.Requests)
				assert.Equal(t, p.dueRequests(), r.Failures())
				if kind == Timeout {
					delete(r.Failed, NotSent) // behind others that had no answer
				}
				assert.Len(t, r.Failed, 1)
				assert.Positive(t, r.Failed[strings.TrimSuffix(kind, "2")])
			})
		}
	}
}

func TestLoadRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	for _, p := range []Plan{{Rate: 100, Seed: 1}, {Rate: 100, Seed: 1, Connections: 2, KeepAlive: true}} {
		p.Duration = brief
		r := run(t, l.Addr().String(), p)
		assert.Equal(t, map[string]int64{Refused: p.dueRequests()}, r.Failed)
		assert.Zero(t, r.Connections)
	}
	r := run(t, l.Addr().String(), Plan{Connections: 1, Duration: brief})
	assert.LessOrEqual(t, r.Failures(), int64(brief/pause)+1, "a closed loop pauses after a failure")
}

func TestLoadNotSent(t *testing.T) {
	addr := serveRaw(t, func(_ int, c *net.TCPConn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, c) })
	p := Plan{Rate: 200, Connections: 1, KeepAlive: true, Seed: 1, Duration: brief, Timeout: brief}
	r := run(t, addr, p)
	assert.Equal(t, p.dueRequests(), r.Failures(), "what waits behind a request without an answer is not forgotten")
	assert.Greater(t, r.Failed[NotSent], int64(10))
}

func TestGeneratorBoundsWhatIsInFlight(t *testing.T) {
	p, err := Plan{Addrs: []string{"127.0.0.1:1"}, Rate: 1000, Duration: time.Second}.withDefaults()
	require.NoError(t, err)
	g, err := newGenerator(p)
	require.NoError(t, err)
	defer g.close()
	g.inFlight = maxInFlight
	g.start(&g.clients[0], 0)
	assert.Equal(t, map[string]int64{NotSent: 1}, g.tally.Failed)
	assert.Empty(t, g.conns)
	assert.Len(t, g.queue, 1, "the next one is due as before")
}

func TestLoadIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("needs IPv6 on loopback: sudo sysctl net.ipv6.conf.lo.disable_ipv6=0")
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	require.NoError(t, s.Listener.Close())
	s.Listener = l
	s.Start()
	defer s.Close()
	r := run(t, l.Addr().String(), Plan{Connections: 1, Duration: brief})
	assert.Empty(t, r.Failed)
	assert.Equal(t, map[string]int64{"": r.Requests}, r.ByWorker)
}

func TestStartCanceled(t *testing.T) {
	s := newSite(t, hello)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Start(ctx, Plan{Addrs: []string{s.addr()}, Connections: 1, KeepAlive: true, Duration: time.Hour})
	require.NoError(t, err)
	<-r.Begun()
	cancel()
	_, err = r.Wait()
	assert.ErrorIs(t, err, context.Canceled)
}

func TestStartBindsToCPUs(t *testing.T) {
	s := newSite(t, hello)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Start(ctx, Plan{Addrs: []string{s.addr()}, Connections: 1, KeepAlive: true, Duration: time.Hour, CPUs: []int{0}})
	require.NoError(t, err)
	<-r.Begun()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", r.PID()))
	require.NoError(t, err)
	for _, task := range tasks {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", r.PID(), task.Name()))
		require.NoError(t, err)
		assert.Contains(t, string(status), "Cpus_allowed_list:\t0\n")
	}
	cancel()
	_, err = r.Wait()
	require.Error(t, err)

	r, err = Start(t.Context(), Plan{Addrs: []string{s.addr()}, Connections: 1, KeepAlive: true, Duration: brief, CPUs: []int{1023}})
	require.NoError(t, err)
	<-r.Begun()
	_, err = r.Wait()
	assert.ErrorContains(t, err, "sched_setaffinity")
}

func TestStartRefuses(t *testing.T) {
	_, err := Start(t.Context(), Plan{Addrs: []string{"192.0.2.1:80"}, Connections: 1, Duration: time.Second})
	assert.ErrorContains(t, err, "load: plan: 192.0.2.1:80 is not on the loopback interface")
}

func TestRun(t *testing.T) {
	s := newSite(t, hello)
	var stdout bytes.Buffer
	require.NoError(t, Run(t.Context(), []string{s.URL, "-rate", "300", "-duration", "300ms", "-warmup", "0"}, &stdout, os.Stderr))
	t.Log(stdout.String())
	assert.Contains(t, stdout.String(), "open loop at 300/s of 32 connections, 300ms after 0s of warm-up")
	assert.Contains(t, stdout.String(), "p99.9")
	assert.NotContains(t, stdout.String(), "failure")
	assert.Regexp(t, `w +\d+ +100.0 % +1.00`, stdout.String())
	s.Close()
	stdout.Reset()
	require.NoError(t, Run(t.Context(), []string{s.URL, "-rate", "300", "-duration", "100ms", "-warmup", "0"}, &stdout, os.Stderr))
	assert.Regexp(t, `refused +\d+`, stdout.String())
}

// A server that stops meets the requests that come in the meantime, and they count.
func TestLoadShowsStall(t *testing.T) {
	server, err := startDelay(time.Millisecond)
	require.NoError(t, err)
	defer server.stop()
	const stall = 300 * time.Millisecond
	for _, p := range []Plan{{Connections: 10, KeepAlive: true, Rate: 500}, {Rate: 500}} {
		p.Duration, p.Seed = 2*time.Second, 1
		m, err := server.load(t.Context(), p, stall)
		for ; err != nil; m, err = server.load(t.Context(), p, stall) { // a slow machine does not keep the rate
			p.Rate /= 2
			require.Greater(t, p.Rate, 20.0, "%v", err)
		}
		t.Logf("%v: p50 %v p90 %v p99 %v p99.9 %v", p, m.Quantile(50), m.Quantile(90), m.Quantile(99), m.Quantile(99.9))
		assert.Equal(t, p.dueRequests(), m.Requests)
		assert.Greater(t, m.Quantile(99.5), stall*8/10)
		assert.Greater(t, m.Quantile(94), stall/10, "15 percent have met it")
	}
}

// A generator that had no CPU must not be believed. On a busy machine, a part of the time for which it is stopped may be over
// before it begins: then it is stopped for longer.
func TestLoadTellsThatItIsLate(t *testing.T) {
	s := newSite(t, hello)
	for _, p := range []Plan{{Connections: 20, KeepAlive: true, Rate: 500}, {Rate: 500}} {
		p.Addrs, p.Duration, p.Seed = []string{s.addr()}, 2*time.Second, 1
		for stop := 300 * time.Millisecond; ; stop *= 3 {
			result := loadStopped(t, p, stop)
			for result.Requests < p.dueRequests() && p.Rate > 20 { // a slow machine does not keep the rate
				assert.Equal(t, p.dueRequests(), result.Requests+result.Failures())
				p.Rate /= 2
				result = loadStopped(t, p, stop)
			}
			assert.Equal(t, p.dueRequests(), result.Requests)
			if result.Late > stop/2 && result.Quantile(99) > stop/2 {
				break
			}
			require.Less(t, stop, 10*time.Second, "late by %v at most, a p99 of %v", result.Late, result.Quantile(99))
		}
	}
}

// loadStopped returns what a load says that was stopped for a time.
func loadStopped(t *testing.T, p Plan, stop time.Duration) Result {
	t.Helper()
	r, err := Start(t.Context(), p)
	require.NoError(t, err)
	<-r.Begun()
	process, err := os.FindProcess(r.PID())
	require.NoError(t, err)
	require.NoError(t, process.Signal(unix.SIGSTOP))
	time.Sleep(stop)
	require.NoError(t, process.Signal(unix.SIGCONT))
	result, err := r.Wait()
	require.NoError(t, err)
	return result
}

// The load must not outlive who wanted it.
func TestLoadEndsWithParent(t *testing.T) {
	s := newSite(t, hello)
	p, err := child.Run(loadRole, Plan{Addrs: []string{s.addr()}, Path: "/", Connections: 1, KeepAlive: true, Duration: time.Hour, Timeout: time.Second})
	require.NoError(t, err)
	line, err := p.Line(0, "")
	require.NoError(t, err)
	assert.Equal(t, "begun", line)
	assert.Error(t, p.Stop(nil))
}

// What else the machine does makes a run worse, never better, so the best of some are compared. `bench check-load` has the
// bounds that count, and p99.
func TestIntegrationWrk(t *testing.T) {
	c := check{rounds: 2, duration: time.Second, connections: 8, delay: 50 * time.Millisecond}
	var rate, p50 struct{ wrk, load []float64 }
	const enough = 10 // times: the machine may be busy in both rounds, and in the next
	for range enough {
		pairs, err := c.pairs(t.Context())
		if errors.Is(err, errNoWrk) {
			t.Skip(err)
		}
		require.NoError(t, err)
		for _, p := range pairs {
			t.Logf("wrk: %.1f/s, p50 %v, p99 %v; load: %.1f/s, p50 %v, p99 %v", p.wrk.Rate, p.wrk.Quantile(50), p.wrk.Quantile(99),
				p.load.Rate, p.load.Quantile(50), p.load.Quantile(99))
			rate.wrk, rate.load = append(rate.wrk, p.wrk.Rate), append(rate.load, p.load.Rate)
			p50.wrk, p50.load = append(p50.wrk, float64(p.wrk.Quantile(50))), append(p50.load, float64(p.load.Quantile(50)))
		}
		err = errors.Join(within("rate", slices.Max(rate.load)/slices.Max(rate.wrk), 0.25),
			within("p50", slices.Min(p50.load)/slices.Min(p50.wrk), 0.25))
		if err == nil {
			return
		}
		t.Log(err)
	}
	assert.Fail(t, "load never measures what wrk does")
}

func TestCheckJudges(t *testing.T) {
	seen := func(p999 time.Duration) Result {
		h := NewHistogram()
		require.NoError(t, h.RecordValues(int64(time.Millisecond), 990))
		require.NoError(t, h.RecordValues(int64(p999), 10))
		return Result{Latency: h}
	}
	c := check{stall: 500 * time.Millisecond}
	require.NoError(t, c.judge(seen(450*time.Millisecond), seen(time.Millisecond), seen(time.Millisecond)))
	require.ErrorContains(t, c.judge(seen(300*time.Millisecond), seen(0), seen(0)), "the open loop hides a stall of 500ms")
	require.ErrorContains(t, c.judge(seen(450*time.Millisecond), seen(0), seen(450*time.Millisecond)), "wrk was to hide the stall")

	require.NoError(t, within("p99", 0.91, 0.1))
	require.ErrorContains(t, within("p99", 0.89, 0.1), "p99 of load is 0.890 times that of wrk")
	require.Error(t, within("p99", 1.11, 0.1))
	require.Error(t, within("p99", math.NaN(), 0.1))
}

func TestCheckUsage(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-duration", "1500ms"}, {"-x"}} {
		var out bytes.Buffer
		require.ErrorIs(t, Check(t.Context(), args, &out, &out), command.ErrUsage)
		assert.NotEmpty(t, out.String())
	}
}

func TestQuantile(t *testing.T) {
	assert.InDelta(t, 3, quantile([]float64{5, 1, 3}, 0.5), 1e-9)
	assert.InDelta(t, 2.5, quantile([]float64{4, 1, 3, 2}, 0.5), 1e-9)
	assert.InDelta(t, 4, quantile([]float64{4, 1, 3, 2}, 1), 1e-9)
}

func TestKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}, Refused},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", unix.ECONNRESET)}, Reset},
		{os.NewSyscallError("write", unix.EPIPE), Reset},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), EOF},
		{os.NewSyscallError("connect", unix.ETIMEDOUT), Timeout},
		{fmt.Errorf("%w: 503", errMalformed), Malformed},
		{os.NewSyscallError("connect", unix.EADDRNOTAVAIL), "EADDRNOTAVAIL"},
		{errors.New("what else"), "what else"},
	} {
		assert.Equal(t, c.want, kindOf(c.err), c.err)
	}
}

// TestStrictFailsWhatIsLost has a server that closes each connection after two answers, while it is idle.
func TestStrictFailsWhatIsLost(t *testing.T) {
	addr := serveRaw(t, func(_ int, c *net.TCPConn, in *bufio.Reader) {
		for range 2 {
			if skipRequest(in) {
				_, _ = io.WriteString(c, strings.Replace(okAnswer, "\r\n", "\r\nWorker: 7\r\n", 1))
			}
		}
	})
	run, err := Start(t.Context(), Plan{
		Addrs: []string{addr, addr}, Connections: 2, KeepAlive: true, Strict: &Strict{Think: 10 * time.Millisecond},
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return run.SoFar().Failed >= 4 }, await.Limit, time.Millisecond)
	assert.Greater(t, run.SoFar().Requests, run.SoFar().Failed)
	run.Stop()
	r, err := run.Wait()
	require.NoError(t, err)
	assert.Zero(t, r.Retried)
	require.Len(t, r.Lost, int(r.Failures()))
	assert.InDelta(t, float64(r.Requests)/2, r.Failures(), 2, "the third request of each connection")
	assert.Positive(t, r.Elapsed)
	for _, f := range r.Lost {
		assert.Contains(t, []string{EOF, Reset}, f.Kind)
		assert.Equal(t, 7, f.PID)
		assert.NotEmpty(t, f.Local)
		assert.Less(t, f.Opened, f.Begun)
		assert.LessOrEqual(t, f.Begun, f.Failed)
	}
}

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	mine, err := OpenLedger(path)
	require.NoError(t, err)
	defer mine.Close()
	theirs, err := OpenLedger(path)
	require.NoError(t, err)
	defer theirs.Close()

	opened := Now()
	ipv4, ipv6 := netip.MustParseAddrPort("127.0.0.1:65535"), netip.MustParseAddrPort("[::1]:65535")
	assert.Zero(t, mine.find(ipv4, opened))
	theirs.note(ipv4, 4711)
	theirs.note(ipv6, 1<<22)
	assert.Equal(t, 4711, mine.find(ipv4, opened))
	assert.Equal(t, 1<<22, mine.find(ipv6, opened))
	assert.Zero(t, mine.find(ipv4, Now()+time.Second), "that was an earlier connection")
}
