// Package demotest runs a program in its own tests. The test binary is also the program:
//
//	func TestMain(m *testing.M) { demotest.Main(m, main) }
package demotest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// variable is set in the environment of the program and its nodes.
const variable = "MULTINODE_DEMO_TEST"

// Main runs the tests, and in a process that was started by them the program. It does not return.
func Main(m *testing.M, program func()) {
	if os.Getenv(variable) != "" {
		program()
		os.Exit(0)
	}
	os.Exit(leaktest.Run(m))
}

// Program is the program as it runs.
type Program struct {
	Line  string        // the first line of its output, when all nodes were ready
	Lines <-chan string // the lines after that, closed when the output of all its processes has ended
	Addr  string        // its main port
	Dir   string        // its rendezvous directory

	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
}

// Start starts the program and waits until it is ready. The end of the test stops it, and checks that it has left nothing.
func Start(t *testing.T, args ...string) *Program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 6*await.Limit)
	p := &Program{Dir: filepath.Join(t.TempDir(), "dir"), ended: make(chan struct{})}
	p.cmd = command(ctx, append([]string{"-addr", "127.0.0.1:0", "-dir", p.Dir}, args...)...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		code := p.Wait()
		cancel()
		assert.NotContains(t, p.Stderr(), "DATA RACE")
		if code == 0 {
			assert.NoDirExists(t, p.Dir, "nothing is left")
		}
		if t.Failed() {
			t.Logf("standard error:\n%s", p.Stderr())
		}
	})
	in := bufio.NewReader(out)
	p.Line, err = in.ReadString('\n')
	lines := make(chan string, 10)
	p.Lines = lines
	go func() { // ends with the program, for which Cleanup waits
		for line, err := in.ReadString('\n'); err == nil; line, err = in.ReadString('\n') {
			lines <- line
		}
		close(lines)
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	require.NoError(t, err, "the program has ended")
	status, err := control.NewClient(p.Dir).Status(ctx)
	require.NoError(t, err)
	p.Addr = status.Address
	return p
}

// command is the program with arguments.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), variable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.WaitDelay = await.Limit
	return cmd
}

// Signal sends a signal to the master.
func (p *Program) Signal(t *testing.T, signal os.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(signal))
}

// Wait waits until the program has ended, and returns its exit code.
func (p *Program) Wait() (code int) {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// Stderr returns the standard error of the program, after Wait.
func (p *Program) Stderr() string { return p.stderr.String() }

// Do sends a request and returns the answer with its body. Without a client, it opens a connection of its own.
func (p *Program) Do(client *http.Client, method, path, body string) (*http.Response, string, error) {
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: await.Limit}
	}
	request, err := http.NewRequestWithContext(context.Background(), method, "http://"+p.Addr+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

// Get is Do for a GET that must be answered.
func (p *Program) Get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	response, body, err := p.Do(nil, http.MethodGet, path, "")
	require.NoError(t, err)
	return response, body
}

// CheckUsage calls the program with arguments with which it ends by itself. want is in its output, code is its exit code.
func CheckUsage(t *testing.T, args []string, want string, code int) {
	t.Helper()
	cmd := command(t.Context(), args...)
	out, _ := cmd.CombinedOutput() // its error is the exit code
	assert.Contains(t, string(out), want, args)
	assert.Equal(t, code, cmd.ProcessState.ExitCode(), args)
}
