// Package reload runs an example as a cluster of real processes, puts load on it and reloads it meanwhile: nothing may
// fail. The test binary is also the program.
package reload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

const (
	directoryVariable = "EXAMPLES_DIR"     // makes the test binary the program, with that rendezvous directory
	reloadsVariable   = "EXAMPLES_RELOADS" // how many reloads a test does
)

const (
	defaultReloads = 3
	operations     = 25 // of each client, between two reloads
)

// Main is the TestMain of an example, whose program is run.
func Main(m *testing.M, run func(cluster.Options) error) {
	dir := os.Getenv(directoryVariable)
	if dir == "" {
		os.Exit(leaktest.Run(m))
	}
	if err := run(cluster.Options{Addr: "127.0.0.1:0", Nodes: 2, Dir: dir}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Client does one thing after the other with the program at an address.
type Client struct {
	Do    func(ctx context.Context) error
	Close func() // at the end
}

// Test runs the program of [Main], lets each client work all the time, and reloads the program again and again. It fails
// when an operation fails, or when the cluster does not end in peace.
func Test(t *testing.T, clients ...func(addr string) Client) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a cluster of several processes needs Linux")
	}
	reloads := defaultReloads
	if text := os.Getenv(reloadsVariable); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err, reloadsVariable)
		reloads = n
	}
	p := start(t)
	addr := p.ready(t)
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	counts := make([]atomic.Int64, len(clients))
	var failed atomic.Int64
	for i, client := range clients {
		c := client(addr)
		working.Go(func() {
			defer c.Close()
			for ctx.Err() == nil {
				// An operation is done to its end, and has all the time that it needs.
				if err := c.Do(context.Background()); err != nil {
					failed.Add(1)
					t.Errorf("client %d: %v", i, err)
				}
				counts[i].Add(1)
			}
		})
	}
	for range reloads {
		for i := range counts {
			enough := counts[i].Load() + operations
			require.Eventually(t, func() bool { return counts[i].Load() > enough || t.Failed() }, await.Limit, time.Millisecond)
		}
		p.reload(t)
	}
	cancel()
	working.Wait()
	p.stop(t)
	total := int64(0)
	for i := range counts {
		total += counts[i].Load()
	}
	t.Logf("%d reloads: %d of %d operations failed", reloads, failed.Load(), total)
}

// program is an example that runs.
type program struct {
	cmd    *exec.Cmd
	dir    string
	ended  chan struct{} // closed when it has
	stderr bytes.Buffer  // readable after ended
}

func start(t *testing.T) *program {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dir")
	p := &program{cmd: exec.CommandContext(context.Background(), os.Args[0]), dir: dir, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), directoryVariable+"="+dir, "GORACE=atexit_sleep_ms=0")
	p.cmd.Stderr = &p.stderr
	require.NoError(t, p.cmd.Start())
	go func() { // ends with the program, for which Cleanup waits
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-p.ended
		if t.Failed() {
			t.Logf("standard error:\n%s", p.stderr.String())
		}
	})
	return p
}

// ready waits until all nodes are ready, and returns the address.
func (p *program) ready(t *testing.T) (addr string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var s control.Status
		if p.ask(http.MethodGet, "/status", &s) != nil || len(s.Nodes) < s.Wanted {
			return false
		}
		for _, n := range s.Nodes {
			if n.State != control.StateReady {
				return false
			}
		}
		addr = s.Address
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		return err == nil && conn.Close() == nil
	}, await.Limit, time.Millisecond)
	return addr
}

func (p *program) reload(t *testing.T) {
	t.Helper()
	begin := time.Now()
	require.NoError(t, p.ask(http.MethodPost, "/reload", nil))
	t.Logf("reloaded in %v", time.Since(begin))
}

func (p *program) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.ended
	assert.Zero(t, p.cmd.ProcessState.ExitCode())
	assert.NotContains(t, p.stderr.String(), "level=WARN")
	assert.NotContains(t, p.stderr.String(), "DATA RACE")
}

// ask asks the control API.
func (p *program) ask(method, path string, answer any) error {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.dir, "master.sock"))
	}}
	defer tr.CloseIdleConnections()
	request, err := http.NewRequestWithContext(context.Background(), method, "http://multinode"+path, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: tr}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", response.Status, body)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(body, answer)
}
