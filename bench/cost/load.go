package cost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const loadVariable = "MULTINODE_BENCH_LOAD"

// load is what the load process is told, as JSON in its environment.
type load struct {
	Addr        string
	Connections int
	Duration    time.Duration
	Short       bool // a new connection for each request
}

// result is what it answers, as JSON on its standard output.
type result struct {
	Requests  int64
	Uncounted int64 // requests before them, to warm up
	Failures  int64
	Elapsed   time.Duration
	P50, P99  time.Duration
	Max       time.Duration
	Clock     time.Duration // p50 of an empty measurement
	Lost      loss          // by the processes of a cache

	Allocations int64     // while a cache was read
	Hits        hitResult // of a cache that is also written
	Shop        shopResult

	CPU time.Duration // of the server or the team, for all requests; filled in by the parent
}

func (r result) perSecond() float64    { return float64(r.Requests) / r.Elapsed.Seconds() }
func (r result) nsPerRequest() float64 { return float64(r.Elapsed) / float64(r.Requests) }
func (r result) cpuPerRequest() float64 {
	return float64(r.CPU.Nanoseconds()) / float64(r.Requests+r.Uncounted) / 1e3
}

// apply loads s from a process of its own, and says what came of it.
func (l load) apply(s *server) (r result, err error) {
	l.Addr = s.addr
	r, err = s.load("load", loadVariable, l)
	if err == nil && r.Failures > 0 {
		err = fmt.Errorf("load on %s: %d of %d requests failed", l.Addr, r.Failures, r.Requests)
	}
	return r, err
}

// load starts a load process in a role with an order, and returns what came of it.
func (s *server) load(role, variable string, l any) (r result, err error) {
	order, err := json.Marshal(l)
	if err != nil {
		return r, err
	}
	before, err := s.cpu()
	if err != nil {
		return r, err
	}
	cmd, out, err := start(role, variable+"="+string(order))
	if err != nil {
		return r, err
	}
	err = json.NewDecoder(out).Decode(&r)
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return r, fmt.Errorf("load on %s: %w", s.addr, err)
	}
	after, err := s.cpu()
	r.CPU = after - before
	return r, err
}

// runLoad is the load process: each connection sends its next request when it has the answer to the last.
func runLoad() error {
	var l load
	if err := json.Unmarshal([]byte(os.Getenv(loadVariable)), &l); err != nil {
		return err
	}
	var mu sync.Mutex // guards total, r.Requests and r.Failures
	total := newHistogram()
	var r result
	var clients sync.WaitGroup
	begin := time.Now()
	for range l.Connections {
		clients.Go(func() {
			c := client{load: l, times: newHistogram()}
			c.run(begin.Add(l.Duration))
			mu.Lock()
			defer mu.Unlock()
			total.Merge(c.times)
			r.Requests += c.requests
			r.Failures += c.failures
		})
	}
	clients.Wait()
	r.Elapsed = time.Since(begin)
	r.P50, r.P99 = time.Duration(total.ValueAtQuantile(50)), time.Duration(total.ValueAtQuantile(99))
	r.Max = time.Duration(total.Max())
	return json.NewEncoder(os.Stdout).Encode(r)
}

// newHistogram holds 1 us to 10 s in nanoseconds, to 3 digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1e3, 10e9, 3) }

// client is one connection, or one after the other.
type client struct {
	load     load
	times    *hdrhistogram.Histogram
	requests int64
	failures int64

	conn net.Conn
	in   *bufio.Reader
}

func (c *client) run(end time.Time) {
	for now := time.Now(); now.Before(end); {
		err := c.request()
		took := time.Since(now)
		now = now.Add(took)
		c.requests++
		if err != nil || c.times.RecordValue(max(1e3, took.Nanoseconds())) != nil {
			c.failures++
			c.hangUp()
		}
	}
	c.hangUp()
}

var (
	keepAlive = []byte("GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
	short     = []byte("GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
)

func (c *client) request() error {
	message := keepAlive
	if c.load.Short {
		defer c.hangUp()
		message = short
	}
	if c.conn == nil {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", c.load.Addr)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	if _, err := c.conn.Write(message); err != nil {
		return err
	}
	return c.response()
}

// response reads one answer. It knows as much HTTP as our handlers write.
func (c *client) response() error {
	length := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("unexpected answer %q", line)
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			_, err = io.CopyN(io.Discard, c.in, int64(length))
			return err
		}
	}
}

func (c *client) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}
