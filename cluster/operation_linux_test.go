package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
)

// order sends a request to the control socket, as curl --unix-socket does, and returns status and body.
func (c *testCluster) order(t *testing.T, method, path string) (status int, body string) {
	t.Helper()
	status, body, err := c.tryOrder(t.Context(), method, path)
	require.NoError(t, err)
	return status, body
}

func (c *testCluster) tryOrder(ctx context.Context, method, path string) (status int, body string, err error) {
	client := &http.Client{Transport: c.control(), Timeout: 2 * patience}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, method, "http://multinode"+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

func (c *testCluster) control() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(c.dir, "master.sock"))
	}}
}

// ordered is order that must succeed.
func (c *testCluster) ordered(t *testing.T, path string) {
	t.Helper()
	status, body := c.order(t, http.MethodPost, path)
	require.Equal(t, http.StatusOK, status, body)
}

// status asks the master.
func (c *testCluster) status(t *testing.T) (s control.Status) {
	t.Helper()
	code, body := c.order(t, http.MethodGet, "/status")
	require.Equal(t, http.StatusOK, code, body)
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	return s
}

// maxPause is the longest time between two looks at the status.
const maxPause = 10 * time.Millisecond

// awaitStatus waits until the status of the master satisfies ok. A master that has just been replaced may leave a request without
// an answer.
func (c *testCluster) awaitStatus(t *testing.T, ok func(control.Status) bool) (s control.Status) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(min(time.Since(begin)/10, maxPause)) {
		code, body, err := c.tryOrder(t.Context(), http.MethodGet, "/status")
		if err != nil {
			continue
		}
		require.Equal(t, http.StatusOK, code, body)
		s = control.Status{}
		require.NoError(t, json.Unmarshal([]byte(body), &s))
		if ok(s) {
			return s
		}
	}
	require.Fail(t, "the status does not come", "%+v", s)
	return s
}

// pids returns the processes of the nodes that accept, by slot. One that is slow to answer, as on a busy machine, is one of
// them.
func pidsOf(s control.Status) map[int]int {
	pids := make(map[int]int)
	for _, n := range s.Nodes {
		if n.Accepts && (n.State == control.StateReady || n.State == control.StateSuspect) {
			pids[n.Slot] = n.PID
		}
	}
	return pids
}

func highestIDOf(s control.Status) (highest int) {
	for _, n := range s.Nodes {
		highest = max(highest, n.ID)
	}
	return highest
}

// traffic under which an operation runs: connections that are kept, and new ones. end returns what has failed.
func underLoad(t *testing.T, addr string) (end func() (requests int64, failed []string)) {
	t.Helper()
	stop := make(chan struct{})
	var mu sync.Mutex // guards failures
	var failures []string
	var requests atomic.Int64
	var clients sync.WaitGroup
	client := func(keep bool) {
		transport := &http.Transport{DisableKeepAlives: !keep, MaxConnsPerHost: 1}
		defer transport.CloseIdleConnections()
		c := &http.Client{Transport: transport, Timeout: patience}
		for running(stop) {
			requests.Add(1)
			if _, err := fetch(c, addr, "/"); err != nil {
				mu.Lock()
				failures = append(failures, fmt.Sprintf("%s keep=%v: %v", time.Now().Format("15:04:05.000"), keep, err))
				mu.Unlock()
			}
			time.Sleep(time.Millisecond) // or the load takes all CPUs from other tests
		}
	}
	for i := range 4 {
		clients.Go(func() { client(i%2 == 0) })
	}
	end = sync.OnceValues(func() (int64, []string) {
		close(stop)
		clients.Wait()
		return requests.Load(), failures
	})
	t.Cleanup(func() { end() })
	return end
}

// noneFailed ends the load.
func noneFailed(t *testing.T, end func() (int64, []string)) {
	t.Helper()
	requests, failed := end()
	assert.Empty(t, failed, "of %d requests", requests)
	assert.Positive(t, requests)
}

const shortDuck = 200 * time.Millisecond // for idle connections; those of the tests are busy

func TestReload(t *testing.T) {
	t.Parallel()
	for _, disable := range []bool{false, true} {
		t.Run(fmt.Sprint("DisableMasterListen=", disable), func(t *testing.T) {
			c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: disable, LameDuck: shortDuck})
			addr := c.ready(t)
			before := c.status(t)
			load := underLoad(t, addr)
			c.ordered(t, "/reload")
			after := c.status(t)
			noneFailed(t, load)
			assert.Len(t, pidsOf(after), 3)
			for slot, pid := range pidsOf(after) {
				assert.NotContains(t, pidsOf(before), pid, "slot %d", slot)
				assert.NotEqual(t, c.cmd.Process.Pid, pid, "the master has handed over")
			}
			assert.Equal(t, 3, after.Wanted)
			survey(t, addr, 3)
			c.ordered(t, "/reload")
			survey(t, addr, 3)
			c.signal(t, syscall.SIGTERM)
			code, stderr := c.exit(t)
			assert.Zero(t, code, stderr)
			c.gone(t)
		})
	}
}

func TestReloadBySignal(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, LameDuck: shortDuck})
	c.ready(t)
	for _, n := range c.status(t).Nodes {
		if !n.Master {
			for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTTIN, syscall.SIGTTOU} {
				require.NoError(t, syscall.Kill(n.PID, sig), "workers ignore it")
			}
		}
	}
	before := pidsOf(c.status(t))
	c.signal(t, syscall.SIGHUP)
	c.told(t, control.EventReloaded, 1)
	after := pidsOf(c.status(t))
	assert.Len(t, after, 2)
	assert.NotEqual(t, before, after)
	c.signal(t, syscall.SIGTTIN)
	c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 3 && s.Doing == "" })
	c.signal(t, syscall.SIGTTOU)
	s := c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 2 && s.Doing == "" })
	assert.Equal(t, after, pidsOf(s), "the last one left again")
	c.neverTold(t, control.EventDied)
}

// copyProgram copies this test binary, to be replaced by another one.
func copyProgram(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	content, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	install(t, path, content)
	return path
}

// install puts a program in the place of another, which may be running.
func install(t *testing.T, path string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", content, 0o700))
	require.NoError(t, os.Rename(path+".new", path))
}

func TestReloadOfABrokenProgram(t *testing.T) {
	t.Parallel()
	path := copyProgram(t)
	c := runCommand(t, exec.Command(path), "http", programOptions{Nodes: 3, DisableMasterListen: true, LameDuck: shortDuck})
	addr := c.ready(t)
	before := pidsOf(c.status(t))
	install(t, path, []byte("#!/bin/sh\necho the licence has expired >&2\nexit 5\n"))
	load := underLoad(t, addr)
	status, body := c.order(t, http.MethodPost, "/reload")
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Contains(t, body, "exit code 5")
	assert.Contains(t, body, "the licence has expired")
	status, body = c.order(t, http.MethodPost, "/scale?nodes=4")
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Contains(t, body, "the licence has expired")
	noneFailed(t, load)
	s := c.status(t)
	assert.Equal(t, before, pidsOf(s), "all serve on")
	assert.Equal(t, 3, s.Wanted)
	assert.Empty(t, s.Doing)

	install(t, path, []byte("no program at all"))
	status, body = c.order(t, http.MethodPost, "/reload")
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Contains(t, body, "exec format error")
	require.NoError(t, os.Remove(path))
	status, body = c.order(t, http.MethodPost, "/reload")
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Contains(t, body, "no such file")
	assert.Equal(t, before, pidsOf(c.status(t)))
	survey(t, addr, 3)
}

func TestReloadThroughASymbolicLink(t *testing.T) {
	t.Parallel()
	old, dir := copyProgram(t), t.TempDir()
	link := filepath.Join(dir, "current")
	require.NoError(t, os.Symlink(old, link))
	c := runCommand(t, exec.Command(link), "http", programOptions{Nodes: 1, DisableMasterListen: true, LameDuck: shortDuck})
	c.ready(t)
	next := copyProgram(t)
	require.NoError(t, os.Symlink(next, link+".new"))
	require.NoError(t, os.Rename(link+".new", link))
	c.ordered(t, "/reload")
	runs, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pidsOf(c.status(t))[1]))
	require.NoError(t, err)
	assert.Equal(t, next, runs)
}

func TestReloadTwiceAtOnce(t *testing.T) {
	t.Parallel()
	c := run(t, "warm", programOptions{Nodes: 2, DisableMasterListen: true, LameDuck: shortDuck})
	addr := c.ready(t)
	type result struct {
		status int
		body   string
	}
	results := make(chan result, 2)
	for range 2 {
		go func() { // ends with the reload
			status, body, err := c.tryOrder(context.Background(), http.MethodPost, "/reload")
			assert.NoError(t, err)
			results <- result{status, body}
		}()
	}
	c.told(t, control.EventReloading, 1)
	status, body := c.order(t, http.MethodPost, "/reload?busy=refuse")
	assert.Equal(t, http.StatusConflict, status, body)
	status, body = c.order(t, http.MethodPost, "/scale?nodes=3&busy=refuse")
	assert.Equal(t, http.StatusConflict, status, body)
	for range 2 {
		r := <-results
		assert.Equal(t, http.StatusOK, r.status, r.body)
	}
	for _, a := range survey(t, addr, 2) {
		assert.Equal(t, 3, a.Generation)
	}
}

func TestReloadWhileWorkersDie(t *testing.T) {
	t.Parallel()
	c := run(t, "warm", programOptions{Nodes: 2, DisableMasterListen: true, LameDuck: shortDuck})
	addr := c.ready(t)
	old := pidsOf(c.status(t))
	done := make(chan string, 1)
	go func() { // ends with the reload
		status, body, err := c.tryOrder(context.Background(), http.MethodPost, "/reload")
		done <- fmt.Sprint(status, body, err)
	}()
	c.told(t, control.EventStarted, 3) // while it boots
	require.NoError(t, syscall.Kill(old[1], syscall.SIGKILL))
	require.NoError(t, syscall.Kill(old[2], syscall.SIGKILL))
	assert.Contains(t, <-done, "200")
	// The master and two workers, and no third one in a slot.
	s := c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 2 && len(s.Nodes) == 3 })
	assert.Empty(t, s.Doing)
	survey(t, addr, 2)
}

func TestScale(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, LameDuck: shortDuck})
	addr := c.ready(t)
	load := underLoad(t, addr)
	for _, nodes := range []int{4, 3, 1, 2} {
		c.ordered(t, fmt.Sprint("/scale?nodes=", nodes))
		s := c.status(t)
		assert.Len(t, pidsOf(s), nodes)
		assert.Equal(t, s.Wanted, nodes)
		survey(t, addr, nodes)
	}
	noneFailed(t, load)
	for _, nodes := range []string{"0", "-1", "1025", "many"} {
		status, body := c.order(t, http.MethodPost, "/scale?nodes="+nodes)
		assert.Equal(t, http.StatusBadRequest, status, body)
	}
	assert.Len(t, pidsOf(c.status(t)), 2)
	c.awaitStatus(t, func(s control.Status) bool { return len(s.Nodes) == 2 })
	c.neverTold(t, control.EventDied)
}

func TestDrain(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, LameDuck: shortDuck})
	addr := c.ready(t)
	load := underLoad(t, addr)
	before := pidsOf(c.status(t))
	c.ordered(t, "/drain/1")
	after := pidsOf(c.status(t))
	assert.Equal(t, before[0], after[0])
	assert.NotEqual(t, before[1], after[1])
	status, body := c.order(t, http.MethodPost, "/drain/1")
	assert.Equal(t, http.StatusNotFound, status, body)
	c.ordered(t, "/drain/0")
	s := c.status(t)
	assert.Len(t, pidsOf(s), 2)
	assert.NotContains(t, pidsOf(s), 0, "the master only supervises now")
	noneFailed(t, load)
	survey(t, addr, 2)
}

// TestOrdersInTheProcess calls what the control API calls, in this process, on a cluster of one.
func TestOrdersInTheProcess(t *testing.T) {
	t.Parallel()
	n, err := Listen(Options{Addr: "127.0.0.1:0", Nodes: 1, Dir: ownDir(t)}, new(http.Server))
	require.NoError(t, err)
	defer func() { assert.NoError(t, n.Shutdown(context.Background())) }()
	require.ErrorIs(t, n.Drain(t.Context(), 7), ErrNoNode)
	require.ErrorContains(t, n.Scale(t.Context(), 0), "1 to 1024")
	require.ErrorContains(t, n.Scale(t.Context(), 1025), "1 to 1024")
	require.NoError(t, n.Scale(t.Context(), 1))
	require.True(t, n.master.Supervisor().Send(lifecycle.Hold{Name: "another order"}))
	require.ErrorIs(t, n.TryReload(t.Context()), ErrBusy)
	require.ErrorIs(t, n.TryScale(t.Context(), 2), ErrBusy)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, n.Reload(ctx), context.Canceled)
	waiting := make(chan error, 1)
	go func() { waiting <- n.Reload(context.Background()) }() // ends with the node
	require.NoError(t, n.Shutdown(t.Context()))
	require.ErrorIs(t, <-waiting, ErrStopping)
}

func TestStopByTheAPI(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3})
	wait := inFlight(t, c, 3, 300*time.Millisecond)
	status, body := c.order(t, http.MethodPost, "/stop")
	assert.Equal(t, http.StatusAccepted, status, body)
	c.stoppedWith(t, 3, wait)
}

func TestStopDuringReload(t *testing.T) {
	t.Parallel()
	c := run(t, "warm", programOptions{Nodes: 3, DisableMasterListen: true, LameDuck: shortDuck})
	c.ready(t)
	c.signal(t, syscall.SIGHUP)
	c.told(t, control.EventStarted, 4)
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	c.gone(t)
}

func TestEventsOverTheSocket(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 1, DisableMasterListen: true, LameDuck: shortDuck})
	c.ready(t)
	transport := c.control()
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://multinode/events?after=0", nil)
	require.NoError(t, err)
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	c.ordered(t, "/reload")
	var kinds []string
	for in := bufio.NewScanner(response.Body); in.Scan(); {
		if kind, ok := strings.CutPrefix(in.Text(), "event: "); ok {
			kinds = append(kinds, kind)
			if kind == string(control.EventReloaded) {
				break
			}
		}
	}
	assert.Equal(t, []string{"started", "ready", "reloading", "started", "ready", "draining", "drained"}, kinds[:7])
}

func TestStatus(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, Name: "shop", Steering: "hash"})
	addr := c.ready(t)
	wait := inFlight(t, c, 2, time.Second)
	s := c.awaitStatus(t, func(s control.Status) bool { return s.Nodes[1].Requests == 1 })
	wait()
	assert.Equal(t, control.StatusVersion, s.Version)
	assert.Equal(t, "shop", s.Cluster)
	assert.Equal(t, c.dir, s.Directory)
	assert.Equal(t, c.cmd.Process.Pid, s.PID)
	assert.Equal(t, addr, s.Address)
	assert.Equal(t, 2, s.Wanted)
	assert.Equal(t, "hash", s.Steering.Level)
	assert.NotEmpty(t, s.Steering.Promise)
	require.Len(t, s.Nodes, 2)
	for slot, n := range s.Nodes {
		assert.Equal(t, slot, n.Slot)
		assert.Equal(t, slot, n.ID)
		assert.Equal(t, 1, n.Generation)
		assert.Equal(t, slot == 0, n.Master)
		assert.Equal(t, control.StateReady, n.State)
		assert.True(t, n.Accepts)
		assert.Equal(t, 1, n.Requests)
		assert.GreaterOrEqual(t, n.Connections, 1)
		assert.Positive(t, n.QueueLimit)
		assert.WithinDuration(t, time.Now(), n.Since, patience)
	}
	require.NoError(t, syscall.Kill(s.Nodes[1].PID, syscall.SIGKILL))
	s = c.awaitStatus(t, func(s control.Status) bool { return s.Nodes[1].ID == 2 && s.Nodes[1].State == control.StateReady })
	assert.Equal(t, 1, s.Nodes[1].Restarts)
	assert.Equal(t, "signal: killed", s.Nodes[1].LastExit)
	assert.Equal(t, 2, s.Nodes[1].Generation)
}
