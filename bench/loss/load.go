//go:build linux

package loss

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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// load is what a load process is told: some clients in a closed loop, until its standard input ends.
type load struct {
	Addrs     []string // client i uses i modulo their number
	Clients   int
	KeepAlive bool          // else each request has a new connection
	Think     time.Duration // between two requests of a client
	Timeout   time.Duration // of a request, with its connect; 0: requestTimeout
	Ledger    string        // file that says who has accepted; "": nobody asks
}

const (
	// requestTimeout is longer than two lost SYNs, and than a worker that hangs has to live, on a slow machine too.
	requestTimeout = 2 * time.Minute
	// lateAfter is what no request takes unless the kernel has dropped its SYN, which is sent again after a second.
	lateAfter = 900 * time.Millisecond
	// maxFailed is how many failures are told one by one.
	maxFailed = 200_000
	// tellInterval is how often a load process says how far it is.
	tellInterval = 100 * time.Millisecond
)

// tally is what a load process answers, as JSON in a line: in short while it runs, and all of it at its end.
type tally struct {
	Requests    int64
	Connections int64
	Failures    map[string]int64 // by kind
	Late        int64            // answered, after lateAfter
	P50, P99    time.Duration
	Max         time.Duration
	Elapsed     time.Duration
	Failed      []failed
	ByPID       map[int]int64 // answers
}

func (t tally) failures() (n int64) {
	for _, count := range t.Failures {
		n += count
	}
	return n
}

// failed is a request that has failed.
type failed struct {
	Kind       string
	Error      string
	Local      string        // address of the client
	Port       int           // of the client, for the ledger
	IPv6       bool          // ditto
	PID        int           // of who has accepted the connection, as far as it is known
	Fresh      bool          // it was the first request of its connection
	Start, End time.Duration // of the clock that all processes share
	Connected  time.Duration // 0: it was not
}

// runLoad is the load process.
func runLoad() error {
	var l load
	if err := child.Task(&l); err != nil {
		return err
	}
	if l.Timeout == 0 {
		l.Timeout = requestTimeout
	}
	var book *ledger
	if l.Ledger != "" {
		var err error
		if book, err = openLedger(l.Ledger); err != nil {
			return err
		}
		defer book.close()
	}
	var ended atomic.Bool
	crowd := make([]*client, l.Clients)
	var running sync.WaitGroup
	for i := range crowd {
		crowd[i] = newClient(l, l.Addrs[i%len(l.Addrs)], book)
		running.Go(func() { crowd[i].run(&ended) }) // ends soon after ended
	}
	begin := time.Now()
	stop := make(chan struct{})
	go func() { // ends with standard input
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	out := json.NewEncoder(os.Stdout)
	ticker := time.NewTicker(tellInterval)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-ticker.C:
			if err := out.Encode(soFar(crowd)); err != nil {
				return err
			}
		}
	}
	ended.Store(true)
	running.Wait()
	total := sum(crowd)
	total.Elapsed = time.Since(begin)
	fmt.Print("end ")
	return out.Encode(total)
}

func soFar(crowd []*client) (t tally) {
	for _, c := range crowd {
		t.Requests += c.requests.Load()
		t.Connections += c.connections.Load()
		if n := c.failures.Load(); n > 0 {
			t.Failures = map[string]int64{"": t.Failures[""] + n}
		}
	}
	return t
}

// sum is called when no client runs any more.
func sum(crowd []*client) tally {
	t := soFar(crowd)
	t.Failures, t.ByPID = make(map[string]int64), make(map[int]int64)
	times := newHistogram()
	for _, c := range crowd {
		times.Merge(c.times)
		t.Late += c.late
		for kind, n := range c.kinds {
			t.Failures[kind] += n
		}
		for pid, n := range c.byPID {
			t.ByPID[pid] += n
		}
		t.Failed = append(t.Failed, c.failed[:min(len(c.failed), maxFailed-len(t.Failed))]...)
	}
	t.P50, t.P99 = time.Duration(times.ValueAtQuantile(50)), time.Duration(times.ValueAtQuantile(99))
	t.Max = time.Duration(times.Max())
	return t
}

// newHistogram holds 1 us to 60 s in nanoseconds, to 3 digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1e3, 60e9, 3) }

// newFineHistogram holds 100 ns to 1 s.
func newFineHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(100, 1e9, 3) }

// client is one connection, or one after the other.
type client struct {
	load   load
	addr   string
	dialer net.Dialer
	book   *ledger

	requests, connections, failures atomic.Int64

	times  *hdrhistogram.Histogram
	kinds  map[string]int64
	failed []failed
	late   int64
	byPID  map[int]int64

	conn      *net.TCPConn
	in        *bufio.Reader
	pid       int // of the server; 0: it has not said yet
	opened    time.Duration
	connected time.Duration
	fresh     bool
}

func newClient(l load, addr string, book *ledger) *client {
	return &client{
		load: l, addr: addr, book: book, times: newHistogram(), kinds: make(map[string]int64), byPID: make(map[int]int64),
		dialer: net.Dialer{Timeout: l.Timeout, KeepAlive: -1}, in: bufio.NewReader(nil),
	}
}

func (c *client) run(ended *atomic.Bool) {
	defer c.hangUp()
	for !ended.Load() {
		start := now()
		err := c.request(start)
		took := now() - start
		c.requests.Add(1)
		switch {
		case err != nil:
			c.fail(err, start, start+took)
		case took > lateAfter:
			c.late++
			fallthrough
		default:
			_ = c.times.RecordValue(max(1e3, took.Nanoseconds())) // a request ends within what it holds
			c.byPID[c.pid]++
		}
		if err != nil || !c.load.KeepAlive {
			c.hangUp()
		}
		if c.load.Think > 0 {
			time.Sleep(c.load.Think)
		}
	}
}

var (
	keepAlive = []byte("GET / HTTP/1.1\r\nHost: loss\r\n\r\n")
	closing   = []byte("GET / HTTP/1.1\r\nHost: loss\r\nConnection: close\r\n\r\n")
)

func (c *client) request(start time.Duration) error {
	c.fresh = c.conn == nil
	if c.fresh {
		if err := c.connect(start); err != nil {
			return err
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.load.Timeout)); err != nil {
		return err
	}
	message := closing
	if c.load.KeepAlive {
		message = keepAlive
	}
	if _, err := c.conn.Write(message); err != nil {
		return err
	}
	return c.response()
}

func (c *client) connect(start time.Duration) error {
	c.opened, c.connected, c.pid = start, 0, 0
	conn, err := c.dialer.DialContext(context.Background(), "tcp", c.addr)
	if err != nil {
		return err
	}
	c.connected = now()
	c.connections.Add(1)
	c.conn = conn.(*net.TCPConn)
	c.in.Reset(conn)
	return nil
}

// hangUp closes by a reset, which leaves no TIME_WAIT behind: the client has all that it wants, and would run out of
// ports.
func (c *client) hangUp() {
	if c.conn != nil {
		_ = c.conn.SetLinger(0)
		_ = c.conn.Close()
		c.conn = nil
	}
}

// response reads one answer, the pid of the one who answers. It knows as much HTTP as our handlers write.
func (c *client) response() error {
	length, last := 0, !c.load.KeepAlive
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("%w: %q", errStatus, line)
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		last = last || bytes.HasPrefix(line, []byte("Connection: close"))
		if len(line) == 2 {
			break
		}
	}
	body, err := c.in.Peek(length)
	if err != nil {
		return err
	}
	if c.pid, err = strconv.Atoi(string(bytes.TrimSpace(body))); err != nil {
		return fmt.Errorf("%w: %w", errStatus, err)
	}
	if last {
		c.hangUp()
		return nil
	}
	_, err = c.in.Discard(length)
	return err
}

var errStatus = errors.New("unexpected answer")

// kindOf sorts errors.
func kindOf(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, errStatus):
		return "answer"
	default:
		return "other"
	}
}

// fail notes a failure.
func (c *client) fail(err error, start, end time.Duration) {
	kind := kindOf(err)
	c.failures.Add(1)
	c.kinds[kind]++
	if len(c.failed) >= maxFailed {
		return
	}
	f := failed{
		Kind: kind, Error: err.Error(), PID: c.pid, Fresh: c.fresh, Start: start, End: end, Connected: c.connected,
	}
	if c.fresh && c.conn == nil { // it has not come to be
		f.Connected = 0
	}
	if c.conn != nil {
		if local, ok := c.conn.LocalAddr().(*net.TCPAddr); ok {
			f.Local, f.Port, f.IPv6 = local.String(), local.Port, local.IP.To4() == nil
			if f.PID == 0 && c.book != nil {
				f.PID = c.book.find(f.Port, f.IPv6, c.opened)
			}
		}
	}
	c.failed = append(c.failed, f)
}
