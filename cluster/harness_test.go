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

	"github.com/multinode-go/multinode/internal/await"
)

const errInUse = syscall.EADDRINUSE

// patience bounds every wait for an event. The machine may be busy; a test that passes never waits so long.
const patience = await.Limit

// lines collects what a program writes, line by line.
type lines struct {
	mu      sync.Mutex // guards all
	all     []string
	changed chan struct{} // closed at the next line

	end chan struct{} // closed behind the last line
}

func newLines() *lines { return &lines{changed: make(chan struct{}), end: make(chan struct{})} }

func (l *lines) read(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		l.add(in.Text())
	}
	close(l.end)
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// await waits for the nth line, from 1, for which match is true.
func (l *lines) await(t *testing.T, nth int, match func(string) bool) string {
	t.Helper()
	limit := time.After(patience)
	for {
		line, changed := l.find(nth, match)
		if line != "" {
			return line
		}
		select {
		case <-changed:
		case <-l.end:
			if line, _ := l.find(nth, match); line != "" {
				return line
			}
			require.Fail(t, "the program has ended without the line")
		case <-limit:
			require.Fail(t, "the line has not come")
		}
	}
}

// find returns the nth line for which match is true, and what will be closed at the next line.
func (l *lines) find(nth int, match func(string) bool) (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if match(line) {
			if nth--; nth == 0 {
				return line, l.changed
			}
		}
	}
	return "", l.changed
}

// cluster is a program of this test binary that runs.
type testCluster struct {
	cmd    *exec.Cmd
	dir    string
	out    *lines
	log    *lines
	exited chan struct{} // closed when the master is gone
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
	c := &testCluster{cmd: cmd, dir: opts.Dir, out: newLines(), log: newLines(), exited: make(chan struct{})}
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

// record is one line of the log.
type record struct {
	Msg, Level, Reason   string
	LastWords            string `json:"last_words"`
	ID, Slot, Generation int
	PID                  int
	RestartIn            time.Duration `json:"restart_in"`
	Lived, After         time.Duration
	WasReady             bool `json:"was_ready"`
}

// logged waits for the nth record with the message.
func (c *testCluster) logged(t *testing.T, msg string, nth int) (r record) {
	t.Helper()
	c.log.await(t, nth, func(line string) bool {
		// Behind what another process has written of a line that it has not ended, as the runtime does with a dump.
		_, line, _ = strings.Cut(line, `{"time"`)
		return json.Unmarshal([]byte(`{"time"`+line), &r) == nil && strings.HasPrefix(r.Msg, msg)
	})
	return r
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
		require.Fail(t, "somebody still holds standard error", c.log.text())
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
