//go:build linux

package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/await"
)

const errInUse = syscall.EADDRINUSE

// patience bounds every wait for an event. The machine may be busy; a test that passes never waits so long.
const patience = await.Limit

// feed collects the output of a program: its lines, or its events.
type feed[T any] struct {
	mu      sync.Mutex // guards all and changed
	all     []T
	changed chan struct{} // closed at the next one

	end chan struct{} // closed behind the last one
}

func newFeed[T any]() *feed[T] {
	return &feed[T]{changed: make(chan struct{}), end: make(chan struct{})}
}

func (f *feed[T]) add(one T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, one)
	close(f.changed)
	f.changed = make(chan struct{})
}

// find returns those so far for which match is true.
func (f *feed[T]) find(match func(T) bool) []T {
	found, _ := f.look(match)
	return found
}

// look is find that returns also what will be closed at the next one.
func (f *feed[T]) look(match func(T) bool) (found []T, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.all {
		if match(one) {
			found = append(found, one)
		}
	}
	return found, f.changed
}

// await waits for the nth one, from 1, for which match is true.
func (f *feed[T]) await(t *testing.T, nth int, match func(T) bool) T {
	t.Helper()
	limit := time.After(patience)
	for ended := false; ; {
		found, changed := f.look(match)
		if len(found) >= nth {
			return found[nth-1]
		}
		require.False(t, ended, "the program has ended without it")
		select {
		case <-changed:
		case <-f.end:
			ended = true
		case <-limit:
			require.Fail(t, "it has not come")
		}
	}
}

// lines is the output of a program.
type lines struct{ *feed[string] }

func newLines() lines { return lines{newFeed[string]()} }

func (l lines) read(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		l.add(in.Text())
	}
	close(l.end)
}

func (l lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// cluster is a program of this test binary that runs.
type testCluster struct {
	cmd    *exec.Cmd
	dir    string
	out    lines
	log    lines
	events *feed[control.Event] // of all masters
	exited chan struct{}        // closed when the master is gone
}

// run starts a program. Whatever is left of it is killed at the end of the test.
func run(t *testing.T, program string, opts programOptions, environ ...string) *testCluster {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	return runCommand(t, cmd, program, opts, environ...)
}

func runCommand(t *testing.T, cmd *exec.Cmd, program string, opts programOptions, environ ...string) *testCluster {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.Dir == "" {
		opts.Dir = ownDir(t)
	}
	value, err := json.Marshal(opts)
	require.NoError(t, err)
	c := &testCluster{
		cmd: cmd, dir: opts.Dir, out: newLines(), log: newLines(), events: newFeed[control.Event](), exited: make(chan struct{}),
	}
	cmd.Env = append(os.Environ(), programVariable+"="+program, optionsVariable+"="+string(value),
		"GORACE=atexit_sleep_ms=0") // or each exit takes a second under the race detector
	cmd.Env = append(cmd.Env, environ...)
	outReader, outWriter, err := os.Pipe()
	require.NoError(t, err)
	logReader, logWriter, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = outWriter, logWriter
	require.NoError(t, cmd.Start())
	require.NoError(t, errors.Join(outWriter.Close(), logWriter.Close()))
	var readers sync.WaitGroup
	readers.Go(func() { c.out.read(outReader) })
	readers.Go(func() { c.log.read(logReader) })
	readers.Go(func() { c.follow(t.Context()) })
	go func() {
		_ = cmd.Wait()
		close(c.exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-c.exited
		for _, pid := range c.processes(t) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		readers.Wait()
		_ = outReader.Close()
		_ = logReader.Close()
		if t.Failed() {
			t.Logf("the program printed:\n%s\nand logged:\n%s", c.out.text(), c.log.text())
		}
	})
	return c
}

// ownDir is a directory that does not exist yet.
func ownDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "dir")
}

// processes returns the processes of this cluster that live: they have its directory in their environment.
func (c *testCluster) processes(t *testing.T) (pids []int) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(environ), strconv.Quote(c.dir)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ready waits until all are ready, and returns the address.
func (c *testCluster) ready(t *testing.T) string {
	t.Helper()
	return c.printed(t, "ready", 1)
}

// printed waits for the nth line that the program prints with the first word given, and returns the rest.
func (c *testCluster) printed(t *testing.T, word string, nth int) string {
	t.Helper()
	line := c.out.await(t, nth, func(line string) bool { return strings.HasPrefix(line, word+" ") })
	return strings.TrimPrefix(line, word+" ")
}

func (c *testCluster) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(sig))
}

// exit waits for the end of the master, and returns its exit code (-1: by signal) and what it had to say.
func (c *testCluster) exit(t *testing.T) (code int, stderr string) {
	t.Helper()
	select {
	case <-c.exited:
	case <-time.After(patience):
		require.Fail(t, "the master has not ended", c.log.text())
	}
	select {
	case <-c.log.end: // when the last worker is gone too
	case <-time.After(patience):
		require.Fail(t, "a process still holds standard error", c.log.text())
	}
	return c.cmd.ProcessState.ExitCode(), c.log.text()
}

// gone checks that neither a process nor a file is left.
func (c *testCluster) gone(t *testing.T) {
	t.Helper()
	assert.Empty(t, c.processes(t), "processes")
	assert.NoFileExists(t, c.dir)
	assert.NoDirExists(t, c.dir)
}

// get asks for path on a new connection.
func get(addr, path string) (a answer, err error) {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: patience}
	return fetch(client, addr, path)
}

func fetch(client *http.Client, addr, path string) (a answer, err error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return a, err
	}
	response, err := client.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %s", response.Status)
	}
	return a, json.NewDecoder(response.Body).Decode(&a)
}

// survey asks on new connections until every node of n has answered, and returns their answers by slot.
func survey(t *testing.T, addr string, n int) map[int]answer {
	t.Helper()
	bySlot := make(map[int]answer)
	for range 1000 {
		a, err := get(addr, "/")
		require.NoError(t, err)
		bySlot[a.Slot] = a
		if len(bySlot) == n {
			return bySlot
		}
	}
	require.Fail(t, "not all nodes answer", "%v", bySlot)
	return nil
}
