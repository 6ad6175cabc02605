package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// programs returns another program that the test binary is to be, nil for none.
var programs = func() func() int { return nil }

// The test binary is also a program that makes itself a cluster.
func TestMain(m *testing.M) {
	if dir := os.Getenv(programVariable); dir != "" {
		os.Exit(serve(dir))
	}
	if program := programs(); program != nil {
		os.Exit(program())
	}
	os.Exit(leaktest.Run(m))
}

// patience bounds every wait for an event.
const patience = await.Limit

// answer is the answer of a fake master to an order.
type answer struct {
	code int
	body string
}

// fakeMaster is a master as the tool sees it: its files, and its API.
type fakeMaster struct {
	dir     string
	orders  chan string // what was asked for
	answers chan answer
	server  *http.Server
	lock    func() // gives the lock up
	stop    func()

	mu      sync.Mutex
	status  control.Status           // guarded by mu
	seq     int                      // guarded by mu
	readers map[chan []byte]struct{} // guarded by mu
	asked   []string                 // guarded by mu; queries for events
}

// tempPlace returns a directory below which clusters may live, with a path that fits into the address of a socket.
func tempPlace(t *testing.T) string {
	t.Helper()
	place, err := os.MkdirTemp("", "") //nolint:usetesting // short
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(place)) })
	return place
}

func startFake(t *testing.T, place, name string) *fakeMaster {
	t.Helper()
	f := &fakeMaster{
		dir: filepath.Join(place, name), orders: make(chan string, 10), answers: make(chan answer, 10),
		status: fakeStatus(name), readers: make(map[chan []byte]struct{}),
	}
	d, err := rendezvous.Open(f.dir)
	require.NoError(t, err)
	lock, err := d.Lock(rendezvous.Owner{PID: f.status.PID, Cluster: name, Address: f.status.Address, Since: f.status.Since})
	require.NoError(t, err)
	f.lock = sync.OnceFunc(func() { assert.NoError(t, lock.Release()) })
	path := filepath.Join(f.dir, masterSocket)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	f.server = &http.Server{Handler: f}
	served := make(chan struct{})
	go func() { // ended by stop, which waits
		_ = f.server.Serve(listener)
		close(served)
	}()
	f.stop = sync.OnceFunc(func() {
		assert.NoError(t, f.server.Close())
		<-served
	})
	t.Cleanup(func() {
		f.stop()
		f.lock()
		assert.NoError(t, d.Remove())
	})
	return f
}

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func fakeStatus(name string) control.Status {
	return control.Status{
		Version: 1, Cluster: name, PID: 4711, Since: begin, Address: "127.0.0.1:8080", Wanted: 3,
		Nodes: []control.NodeStatus{
			{
				ID: 0, Slot: 0, Generation: 1, PID: 4711, State: control.StateReady, Since: begin, Master: true, Accepts: true,
				QueueLimit: 4096, Connections: 12, Requests: 3, Weight: 33.3,
			},
			{
				ID: 3, Slot: 1, Generation: 2, PID: 4713, State: control.StateReady, Since: begin.Add(time.Hour), Accepts: true,
				Restarts: 1, LastExit: "exit code 1", Queue: 4000, QueueLimit: 4096, Connections: 1500, Weight: 66.7,
			},
			{ID: 2, Slot: 2, Generation: 9, State: control.StateLooping, Since: begin.Add(2 * time.Hour), Restarts: 8, LastExit: "killed"},
		},
		Steering: control.Steering{
			Level: "cbpf", Promise: "A reload loses nothing.", Known: true,
			Advice:    []control.Advice{{Gives: "a crash loses less", Command: "sysctl -w net.ipv4.tcp_migrate_req=1"}},
			Strangers: []control.Stranger{{PID: 99, Program: "nc", Address: "127.0.0.1:8080"}},
		},
	}
}

func (f *fakeMaster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Multinode-API", "1")
	switch r.URL.Path {
	case "/status":
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = json.NewEncoder(w).Encode(f.status)
	case "/events":
		f.serveEvents(w, r)
	default:
		f.orders <- r.Method + " " + r.URL.RequestURI()
		select {
		case a := <-f.answers:
			w.WriteHeader(a.code)
			_, _ = w.Write([]byte(a.body))
		case <-r.Context().Done():
		}
	}
}

func (f *fakeMaster) serveEvents(w http.ResponseWriter, r *http.Request) {
	reader := make(chan []byte, 100)
	f.mu.Lock()
	f.readers[reader] = struct{}{}
	f.asked = append(f.asked, r.URL.RawQuery)
	f.mu.Unlock()
	_, _ = fmt.Fprint(w, ": here\n\n")
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case event, open := <-reader:
			if !open {
				return
			}
			_, _ = w.Write(event)
		case <-r.Context().Done():
			return
		}
	}
}

// emit sends events to all who read them.
func (f *fakeMaster) emit(events ...control.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.seq++
		e.Seq, e.Time = f.seq, begin
		data, _ := json.Marshal(e)
		for reader := range f.readers {
			reader <- fmt.Appendf(nil, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, data)
		}
	}
}

// cut ends all streams of events.
func (f *fakeMaster) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for reader := range f.readers {
		delete(f.readers, reader)
		close(reader)
	}
}

// awaitReader waits until a client reads events.
func (f *fakeMaster) awaitReader(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.readers) > 0
	}, patience, time.Millisecond)
}

func (f *fakeMaster) order(t *testing.T) string {
	t.Helper()
	select {
	case order := <-f.orders:
		return order
	case <-time.After(patience):
		require.FailNow(t, "no order came")
		return ""
	}
}

// output can be read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// call is a run of the tool.
type call struct {
	stdout, stderr output
	interrupt      func()
	code           chan int
}

// begin runs the tool with clusters in place.
func begins(t *testing.T, place string, args ...string) *call {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &call{interrupt: cancel, code: make(chan int, 1)}
	a := &app{stdout: &c.stdout, stderr: &c.stderr, places: places{place}}
	ended := make(chan struct{})
	go func() { // ended by the cleanup at the latest, which waits
		c.code <- a.run(ctx, args)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return c
}

func (c *call) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-c.code:
		return code
	case <-time.After(patience):
		require.FailNow(t, "it does not end", "%s%s", c.stdout.String(), c.stderr.String())
		return 0
	}
}

func (c *call) awaitOutput(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return bytes.Contains([]byte(c.stdout.String()), []byte(text)) }, patience, time.Millisecond,
		text)
}

// runs runs the tool to its end.
func runs(t *testing.T, place string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := begins(t, place, args...)
	code = c.wait(t)
	return code, c.stdout.String(), c.stderr.String()
}
