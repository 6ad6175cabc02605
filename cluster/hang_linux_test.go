package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// getStuck is a server that hangs where it is told to: /block stops its accept loop for the time that is asked for, and
// /spin takes a CPU for ever.
func getStuck() error {
	opts, _ := options()
	told := make(chan *Node, 1)
	block := make(chan time.Duration, 1)
	mux := http.NewServeMux()
	mux.Handle("/", handlerOf(told))
	mux.HandleFunc("/block", func(_ http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("for"))
		block <- d
	})
	mux.HandleFunc("/spin", func(http.ResponseWriter, *http.Request) { spin() })
	n, err := Listen(opts, &http.Server{
		Handler: mux,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { // in the accept loop
			select {
			case d := <-block:
				fmt.Println("blocking", d)
				time.Sleep(d)
			default:
			}
			return ctx
		},
	})
	if err != nil {
		return err
	}
	told <- n
	return waitTelling(n)
}

var spins uint64

//go:noinline
func spin() {
	for {
		spins++
	}
}

// quick are options under which a hung worker is found soon.
func quick(nodes int) programOptions {
	return programOptions{
		Nodes: nodes, DisableMasterListen: true, LivenessTimeout: time.Second, LameDuck: shortDuck,
	}
}

// replacedFor checks that the worker was found to hang, within what LivenessTimeout promises, and replaced.
func (c *testCluster) replacedFor(t *testing.T, pid int, begin time.Time) {
	t.Helper()
	hung := c.told(t, control.EventHung, 1)
	found := time.Since(begin)
	assert.Equal(t, pid, hung.PID)
	c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 2 && pidsOf(s)[hung.Slot] != pid })
	t.Logf("found after %v, replaced after %v", found, time.Since(begin))
	assert.Contains(t, c.told(t, control.EventDied, 1).Text, "did not answer")
	c.log.await(t, 1, func(line string) bool { return strings.HasPrefix(line, "SIGQUIT: quit") }) // by the Go runtime
}

func TestStoppedWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	c := run(t, "http", quick(2))
	addr := c.ready(t)
	pid := pidsOf(c.status(t))[1]
	begin := time.Now()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	c.told(t, control.EventSuspect, 1)
	if reuseport.Probe().Rung >= reuseport.RungBPF {
		c.awaitStatus(t, func(s control.Status) bool { return isLeftOut(s, pid) })
		t.Logf("without connections after %v", time.Since(begin))
	}
	c.replacedFor(t, pid, begin)
	survey(t, addr, 2)
}

// weights returns what a process and what the others get of the new connections, in percent: nothing at all if they are not
// steered.
func weightsOf(s control.Status, pid int) (own, others float64) {
	for _, n := range s.Nodes {
		if n.PID == pid {
			own = n.Weight
		} else {
			others += n.Weight
		}
	}
	return own, others
}

func isLeftOut(s control.Status, pid int) bool {
	own, others := weightsOf(s, pid)
	return own == 0 && others > 0
}

// TestStoppedWorkerGetsNothing: a suspect gets no new connections, and some when it answers again.
func TestStoppedWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	needSteering(t)
	opts := quick(3)
	opts.LivenessTimeout = 40 * time.Second // it is not ended
	c := run(t, "http", opts)
	addr := c.ready(t)
	pid := pidsOf(c.status(t))[1]
	c.awaitStatus(t, func(s control.Status) bool { own, _ := weightsOf(s, pid); return own > 0 }) // or it is left out since it was not ready yet
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	c.awaitStatus(t, func(s control.Status) bool { return isLeftOut(s, pid) })
	for range 100 {
		a, err := get(addr, "/")
		require.NoError(t, err)
		require.NotEqual(t, pid, a.PID)
	}
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	c.awaitStatus(t, func(s control.Status) bool { own, _ := weightsOf(s, pid); return own > 0 })
	survey(t, addr, 3)
	c.neverTold(t, control.EventHung)
}

func TestBlockedAcceptLoopIsFound(t *testing.T) {
	t.Parallel()
	c := run(t, "stuck", quick(2))
	addr := c.ready(t)
	p, err := connect(addr)
	require.NoError(t, err)
	defer p.client.CloseIdleConnections()
	_, _ = fetch(p.client, addr, "/block?for=1h") // has no body to decode
	begin := time.Now()
	for !isPrinted(c, "blocking") { // the next connection to that worker
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.Less(t, time.Since(begin), patience)
	}
	c.replacedFor(t, p.pid, begin)
	survey(t, addr, 2)
}

func isPrinted(c *testCluster, word string) bool {
	return len(c.out.find(func(line string) bool { return strings.HasPrefix(line, word+" ") })) > 0
}

func TestBlockedAcceptLoopWithAcceptPauses(t *testing.T) {
	t.Parallel()
	opts := quick(1)
	opts.AcceptPauses = true
	c := run(t, "stuck", opts)
	addr := c.ready(t)
	p, err := connect(addr)
	require.NoError(t, err)
	defer p.client.CloseIdleConnections()
	_, _ = fetch(p.client, addr, "/block?for=3s")
	a, err := get(addr, "/") // waits until the loop goes on
	require.NoError(t, err)
	assert.Equal(t, p.pid, a.PID)
	c.printed(t, "blocking", 1)
	c.neverTold(t, control.EventHung)
}

func TestSpinningWorkerIsFound(t *testing.T) {
	t.Parallel()
	c := run(t, "stuck", quick(2), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1")
	addr := c.ready(t)
	p, err := connect(addr)
	require.NoError(t, err)
	defer p.client.CloseIdleConnections()
	begin := time.Now()
	go fetch(p.client, addr, "/spin") // ends with the worker
	c.replacedFor(t, p.pid, begin)
	survey(t, addr, 2)
}

// TestStarvedWorkerDoesNotHang takes the CPU away from workers: they are slow, and do not hang.
func TestStarvedWorkerDoesNotHang(t *testing.T) {
	opts := quick(2)
	opts.LivenessTimeout = 3 * time.Second
	c := run(t, "http", opts)
	addr := c.ready(t)
	for _, pid := range pidsOf(c.status(t)) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		require.NoError(t, err)
		for _, task := range tasks {
			tid, err := strconv.Atoi(filepath.Base(task))
			require.NoError(t, err)
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, tid, 19) // the thread may be gone
		}
	}
	for range 2 * runtime.NumCPU() {
		thief := exec.Command("sh", "-c", "while :; do :; done")
		require.NoError(t, thief.Start())
		t.Cleanup(func() {
			_ = thief.Process.Kill()
			_ = thief.Wait()
		})
	}
	for begin := time.Now(); time.Since(begin) < 2*opts.LivenessTimeout; { // the test is about time
		_, err := get(addr, "/")
		require.NoError(t, err)
	}
	c.neverTold(t, control.EventHung)
}
