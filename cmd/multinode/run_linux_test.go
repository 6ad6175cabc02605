package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// toolVariable makes the test binary the tool, and listenVariable a program that listens on an address, by itself or,
// with "shared " in front, with SO_REUSEPORT.
//
// With deafVariable, it ignores SIGTERM.
const (
	deafVariable   = "MULTINODE_TEST_DEAF"
	toolVariable   = "MULTINODE_TEST_TOOL"
	listenVariable = "MULTINODE_TEST_LISTEN"
)

// The tool comes first, and does not tell its processes that it was told so.
func init() {
	programs = func() func() int {
		where := os.Getenv(listenVariable)
		switch {
		case os.Getenv(toolVariable) != "":
			_ = os.Unsetenv(toolVariable) // fails for a malformed name only
			return tool
		case where != "":
			return func() int { return listen(where) }
		default:
			return nil
		}
	}
}

func tool() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// listen is a program that knows nothing of clusters. It finishes its requests at SIGTERM, and writes what goes wrong with a
// connection to its standard output.
func listen(where string) int {
	address, shared := strings.CutPrefix(where, "shared ")
	open := new(net.ListenConfig).Listen
	if shared {
		open = func(ctx context.Context, network, address string) (net.Listener, error) {
			return reuseport.Listen(ctx, network, address, reuseport.Options{})
		}
	}
	l, err := open(context.Background(), "tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	if os.Getenv(deafVariable) == "" {
		signal.Notify(stop, syscall.SIGTERM)
	} else {
		signal.Ignore(syscall.SIGTERM)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { // ends with the process
		<-stop
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.Serve(watchedListener{l}); !errors.Is(err, http.ErrServerClosed) {
		return 1
	}
	if <-ended != nil {
		return 1
	}
	return 0
}

type watchedListener struct{ net.Listener }

type watchedConn struct{ net.Conn }

func (l watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return watchedConn{c}, err
}

func (c watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		fmt.Println("connection failed:", err)
	}
	return n, err
}

// aRun is "multinode run".
type aRun struct {
	place          string
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

const runName = "r"

// startRun starts it in a place of its own. What is left of it is killed at the end of the test.
func startRun(t *testing.T, environ []string, nodes string, program ...string) *aRun {
	t.Helper()
	r := &aRun{place: tempPlace(t), ended: make(chan struct{})}
	args := append([]string{"run", "-n", nodes, "--name", runName, "--dir", filepath.Join(r.place, runName), "--"}, program...)
	r.cmd = exec.Command(os.Args[0], args...)
	r.cmd.Env = append(os.Environ(), append(environ, toolVariable+"=1", "GORACE=atexit_sleep_ms=0")...)
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	require.NoError(t, r.cmd.Start())
	go func() { // ended by the cleanup at the latest, which waits
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-r.ended:
		case <-time.After(patience):
			_ = r.cmd.Process.Kill()
			<-r.ended
			assert.Fail(t, "it had to be killed")
		}
		if t.Failed() {
			t.Logf("run printed:\n%s\nand:\n%s", r.stdout.String(), r.stderr.String())
		}
	})
	return r
}

// status returns what the status is, zero where there is none.
func (r *aRun) status(t *testing.T) (s control.Status) {
	t.Helper()
	_, stdout, _ := runs(t, r.place, "status", "--json")
	_ = json.Unmarshal([]byte(stdout), &s)
	return s
}

// await waits until the status is as wanted.
func (r *aRun) await(t *testing.T, wanted func(control.Status) bool) (s control.Status) {
	t.Helper()
	require.Eventually(t, func() bool {
		s = r.status(t)
		return s.Version != 0 && wanted(s)
	}, patience, 10*time.Millisecond)
	return s
}

// ready waits until so many nodes are.
func (r *aRun) ready(t *testing.T, count int) control.Status {
	t.Helper()
	return r.await(t, func(s control.Status) bool { return len(pids(s)) == count })
}

// pids returns those of the nodes that are ready.
func pids(s control.Status) (pids []int) {
	for _, n := range s.Nodes {
		if n.State == control.StateReady && n.Accepts {
			pids = append(pids, n.PID)
		}
	}
	return pids
}

// crash kills a process, and waits until another one is in its place.
func (r *aRun) crash(t *testing.T, pid, count int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	r.await(t, func(s control.Status) bool { return len(pids(s)) == count && !slices.Contains(pids(s), pid) })
}

// does runs a command on it that has to be done.
func (r *aRun) does(t *testing.T, args ...string) {
	t.Helper()
	code, stdout, stderr := runs(t, r.place, args...)
	require.Equal(t, codeDone, code, "%s%s", stdout, stderr)
}

// exit waits for its end, and returns the exit code.
func (r *aRun) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		require.FailNow(t, "it does not end")
	}
	return r.cmd.ProcessState.ExitCode()
}

// freeAddress holds a port until the end of the test.
func freeAddress(t *testing.T) string {
	t.Helper()
	r, err := reuseport.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r.Addr().String()
}

// unsharedAddress returns an address that was free a moment ago: one that is held cannot be bound without SO_REUSEPORT.
func unsharedAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func listenersOn(t *testing.T, address string) []reuseport.Listener {
	t.Helper()
	found, err := reuseport.Listeners(t.Context(), "tcp", address)
	require.NoError(t, err)
	return found
}

// TestRunEndsWhatAProcessHasStarted: a program of several processes ends as a whole, whatever ends its first one, also
// what has left its process group, its session and its environment.
func TestRunEndsWhatAProcessHasStarted(t *testing.T) {
	for name, script := range map[string]string{
		"in its group":                     `"$0" & wait`,
		"in a session of its own":          `setsid "$0" & wait`,
		"that wipes its tracks":            `env -i "` + listenVariable + `=$` + listenVariable + `" setsid "$0" & exec sleep 1000`,
		"of which the first ends in order": `"$0" & exec sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := freeAddress(t)
			r := startRun(t, []string{listenVariable + "=shared " + address}, "2", "sh", "-c", script, os.Args[0])
			first := r.ready(t, 2)
			r.crash(t, pids(first)[0], 2)
			assert.Len(t, listenersOn(t, address), 2, "none is left of the one that was killed")
			r.does(t, "reload")
			// What gets no connections any more may take its time to end.
			require.Eventually(t, func() bool { return len(listenersOn(t, address)) == 2 }, patience, 10*time.Millisecond)
			r.does(t, "stop")
			assert.Equal(t, codeDone, r.exit(t))
			assert.Empty(t, listenersOn(t, address))
		})
	}
}

// TestRunKillsWhatDoesNotEnd: what a process that has crashed has left behind has some time to end.
func TestRunKillsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	script := `trap '' TERM; "$0" & while :; do sleep 1000; done`
	r := startRun(t, []string{listenVariable + "=shared " + address, deafVariable + "=1"}, "2", "sh", "-c", script, os.Args[0])
	r.crash(t, pids(r.ready(t, 2))[0], 2)
	assert.Len(t, listenersOn(t, address), 2)
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	r.await(t, func(s control.Status) bool { return s.Doing == "stop" || len(pids(s)) == 0 })
	require.Eventually(t, func() bool { // a second one ends them at once
		_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-r.ended:
			return true
		default:
			return false
		}
	}, patience, 100*time.Millisecond)
	assert.Empty(t, listenersOn(t, address))
}

// TestRunNamesWhoStillListens: a stop after which the port is not free has failed.
func TestRunNamesWhoStillListens(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	r := startRun(t, []string{listenVariable + "=shared " + address}, "2", os.Args[0])
	r.ready(t, 2)
	stranger, err := reuseport.Listen(t.Context(), "tcp", address, reuseport.Options{})
	require.NoError(t, err)
	defer stranger.Close()
	code, _, stderr := runs(t, r.place, "stop")
	assert.Equal(t, codeFailed, code)
	for _, text := range []string{stderr, func() string { assert.Equal(t, codeFailed, r.exit(t)); return r.stderr.String() }()} {
		assert.Contains(t, text, address)
		assert.Contains(t, text, fmt.Sprintf("kill %d", os.Getpid()))
	}
}

// TestRunOfAProgramThatDoesNotShareItsPort ends with an error that says so, and what to do.
func TestRunOfAProgramThatDoesNotShareItsPort(t *testing.T) {
	t.Parallel()
	node := filepath.Join(t.TempDir(), "server.js")
	require.NoError(t, os.WriteFile(node, []byte(`
		require("http").createServer((_, r) => r.end()).listen({ host: "127.0.0.1", port: +process.argv[2], reusePort: true });
	`), 0o600))
	for name, c := range map[string]struct {
		program func(host, port string) []string
		advice  string
	}{
		"any": {func(string, string) []string { return []string{os.Args[0]} }, "SO_REUSEPORT"},
		"node": {func(_, port string) []string {
			return []string{"node", node, port}
		}, "reusePort: true"},
		"python3": {func(host, port string) []string {
			return []string{"python3", "-m", "http.server", "--bind", host, port}
		}, "allow_reuse_port"},
		"gunicorn": {func(host, port string) []string {
			return []string{"gunicorn", "--bind", host + ":" + port, "wsgiref.simple_server:demo_app"}
		}, "--reuse-port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := unsharedAddress(t)
			host, port, err := net.SplitHostPort(address)
			require.NoError(t, err)
			program := c.program(host, port)
			if program[0] != os.Args[0] {
				needs(t, program[0])
			}
			if name == "node" && nodeShares(t) {
				t.Skip("this Node.js knows reusePort")
			}
			r := startRun(t, []string{listenVariable + "=" + address}, "3", program...)
			assert.Equal(t, codeFailed, r.exit(t))
			assert.Contains(t, r.stderr.String(), address+" without SO_REUSEPORT")
			assert.Contains(t, r.stderr.String(), c.advice)
			assert.Empty(t, listenersOn(t, address))
		})
	}
}

// needs skips a test that needs a program which is not there.
func needs(t *testing.T, program string) {
	t.Helper()
	packages := map[string]string{"node": "nodejs", "nginx": "nginx-light"}
	name := packages[program]
	if name == "" {
		name = program
	}
	if _, err := exec.LookPath(program); err != nil && os.Getenv("MULTINODE_INTEGRATION") == "" {
		t.Skipf("needs %s: apt-get install %s", program, name)
	}
}

func nodeShares(t *testing.T) bool {
	t.Helper()
	version, err := exec.Command("node", "--print", "process.versions.node").Output()
	require.NoError(t, err)
	var major, minor int
	_, err = fmt.Sscanf(string(version), "%d.%d", &major, &minor)
	require.NoError(t, err)
	return major > 23 || major == 23 && minor >= 1 || major == 22 && minor >= 12
}

// TestRunOneProcessThatDoesNotShareItsPort serves, and promises nothing that cannot be.
func TestRunOneProcessThatDoesNotShareItsPort(t *testing.T) {
	t.Parallel()
	address := unsharedAddress(t)
	r := startRun(t, []string{listenVariable + "=" + address}, "1", os.Args[0])
	s := r.ready(t, 1)
	assert.Equal(t, address, s.Address)
	assert.Equal(t, "hash", s.Steering.Level)
	assert.Contains(t, s.Steering.Promise, "without SO_REUSEPORT")
	before := pids(s)

	code, _, stderr := runs(t, r.place, "reload")
	assert.Equal(t, codeFailed, code)
	assert.Contains(t, stderr, "without SO_REUSEPORT")
	assert.Equal(t, before, pids(r.ready(t, 1)), "it goes on")
	r.crash(t, before[0], 1)
	r.does(t, "stop")
	assert.Equal(t, codeDone, r.exit(t))
}

// TestRunOfADaemon: what goes into the background cannot be supervised, and is not left there.
func TestRunOfADaemon(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"that wipes its tracks": `: $(env -i "` + listenVariable + `=$` + listenVariable + `" setsid sh -c '"$0" >/dev/null 2>&1 &' "$0")`,
		"in its group":          `"$0" &`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := freeAddress(t)
			r := startRun(t, []string{listenVariable + "=shared " + address}, "2", "sh", "-c", script, os.Args[0])
			assert.Equal(t, codeFailed, r.exit(t))
			assert.Contains(t, r.stderr.String(), "foreground")
			assert.Empty(t, listenersOn(t, address))
		})
	}
}

// TestRunAsksWithoutAReset: the connections by which it finds out who is who are no errors to a server.
func TestRunAsksWithoutAReset(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	r := startRun(t, []string{listenVariable + "=shared " + address}, "3", os.Args[0])
	r.await(t, func(s control.Status) bool { return len(pids(s)) == 3 && s.Steering.Known })
	r.does(t, "reload")
	r.does(t, "stop")
	assert.Equal(t, codeDone, r.exit(t))
	assert.NotContains(t, r.stdout.String(), "connection failed")
	assert.NotRegexp(t, `level=WARN .*\baddress=`, r.stderr.String(), "the port is steered")
}

// TestIntegrationRunNginx takes nginx through reloads under load, and kills the first process of one.
func TestIntegrationRunNginx(t *testing.T) {
	t.Parallel()
	needs(t, "nginx")
	address, dir := freeAddress(t), t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`worker_processes 1; daemon off; error_log stderr warn; pid %[1]s/pid;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen %[2]s reuseport; location / { return 200 ok; } }
}`, dir, address)
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	r := startRun(t, nil, "3", "nginx", "-e", "stderr", "-c", config)
	r.await(t, func(s control.Status) bool { return len(pids(s)) == 3 && s.Steering.Known })
	assert.Contains(t, r.status(t).Steering.Promise, "SIGQUIT")

	end := load(t, address)
	for range 2 {
		r.does(t, "reload")
	}
	requests, failed := end()
	assert.Positive(t, requests)
	assert.Empty(t, failed, "of %d", requests)

	r.crash(t, pids(r.status(t))[0], 3)
	assert.Len(t, listenersOn(t, address), 3, "its worker is gone")
	r.does(t, "stop")
	assert.Equal(t, codeDone, r.exit(t))
	assert.Empty(t, listenersOn(t, address))
}

// load sends requests to an address, each on a connection of its own, until end is called.
func load(t *testing.T, address string) (end func() (requests int, failed []error)) {
	t.Helper()
	const clients = 4
	var mu sync.Mutex
	var requests int
	var failed []error
	var running sync.WaitGroup
	done := make(chan struct{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for range clients {
		running.Go(func() { // ends with done
			for {
				select {
				case <-done:
					return
				default:
				}
				response, err := client.Get("http://" + address)
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				mu.Lock()
				requests++
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	end = sync.OnceValues(func() (int, []error) {
		close(done)
		running.Wait()
		return requests, failed
	})
	t.Cleanup(func() { end() })
	return end
}
