package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// container is a cluster whose program was started as process 1 of a pid namespace of its own.
type container struct{ *testCluster }

// contain runs a program as a container does.
func contain(t *testing.T, program string, opts programOptions, environ ...string) container {
	t.Helper()
	t.Parallel()
	args := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	if out, err := exec.Command("unshare", append(args, "true")...).CombinedOutput(); err != nil {
		fix := fmt.Sprintf("no pid namespace of our own (%v: %s): apt-get install util-linux, and run as root, "+
			"or sysctl kernel.unprivileged_userns_clone=1", err, out)
		if os.Getenv("MULTINODE_INTEGRATION") != "" {
			t.Fatal(fix)
		}
		t.Skip(fix)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	return container{runCommand(t, exec.Command("unshare", append(args, self)...), program, opts, environ...)}
}

// outside returns the pid that a process of the container has here.
func (c container) outside(t *testing.T, pid int) int {
	t.Helper()
	for _, outer := range c.processes(t) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", outer))
		if err != nil {
			continue // it is gone
		}
		_, ids, _ := strings.Cut(string(status), "\nNSpid:")
		ids, _, _ = strings.Cut(ids, "\n")
		if all := strings.Fields(ids); len(all) > 1 && all[len(all)-1] == strconv.Itoa(pid) {
			return outer
		}
	}
	require.Fail(t, "no such process in the container", pid)
	return 0
}

// kill sends a signal to a process of the container.
func (c container) kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	require.NoError(t, syscall.Kill(c.outside(t, pid), sig))
}

// stopped stops the container as an engine does.
func (c container) stopped(t *testing.T) {
	t.Helper()
	c.kill(t, 1, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	assert.Empty(t, c.processes(t), "processes")
}

// awaitMaster waits until the nth master, which is another process than the one before, has so many nodes.
func (c container) awaitMaster(t *testing.T, nth, before, nodes int) (s control.Status) {
	t.Helper()
	c.printed(t, "ready", nth)
	return c.awaitStatus(t, func(s control.Status) bool { return s.PID != before && len(pidsOf(s)) == nodes })
}

// TestIntegrationProcessOneLeavesChildrenToTheProgram: the program waits for its own, and orphans are reaped.
func TestIntegrationProcessOneLeavesChildrenToTheProgram(t *testing.T) {
	c := contain(t, "children", programOptions{Nodes: 2})
	for range 2 { // the master and a worker
		c.printed(t, "children", 1)
		c.printed(t, "children", 2)
	}
	c.ready(t)
	assert.NotEqual(t, 1, c.status(t).PID)
	c.stopped(t)
}

func init() { programs["children"] = withChildren }

// withChildren has children of its own, and orphans.
func withChildren() error {
	opts, _ := options()
	if err := exec.Command("true").Run(); err != nil {
		return fmt.Errorf("before Listen: %w", err)
	}
	n, err := Listen(opts, new(http.Server))
	if err != nil {
		return err
	}
	first := exec.Command("true")
	if err := first.Start(); err != nil {
		return err
	}
	for range 10 {
		failing := exec.Command("sh", "-c", "exit 3")
		if err := failing.Run(); failing.ProcessState.ExitCode() != 3 {
			return fmt.Errorf("a child that fails: %w", err)
		}
		out, err := exec.Command("sh", "-c", "true & echo $!").Output()
		if err != nil {
			return fmt.Errorf("the parent of an orphan: %w", err)
		}
		orphan, err := strconv.Atoi(string(bytes.TrimSpace(out)))
		if err != nil {
			return err
		}
		for !errors.Is(syscall.Kill(orphan, 0), syscall.ESRCH) {
			time.Sleep(time.Millisecond)
		}
	}
	if err := first.Wait(); err != nil {
		return fmt.Errorf("a child that has been dead for long: %w", err)
	}
	fmt.Println("children", os.Getpid())
	return waitTelling(n)
}

func TestIntegrationProcessOneTakesOrders(t *testing.T) {
	c := contain(t, "http", programOptions{Nodes: 3, LameDuck: shortDuck})
	addr := c.ready(t)
	before := c.status(t)
	c.kill(t, 1, syscall.SIGHUP)
	after := c.awaitStatus(t, func(s control.Status) bool {
		return len(pidsOf(s)) == 3 && s.Doing == "" && highestIDOf(s) >= 5
	})
	assert.Equal(t, before.PID, after.PID)
	for slot, pid := range pidsOf(after) {
		assert.NotContains(t, pidsOf(before), pid, "slot %d", slot)
	}
	survey(t, addr, 3)
	c.stopped(t)
}

func TestIntegrationProcessOneLetsRequestsFinish(t *testing.T) {
	c := contain(t, "http", programOptions{Nodes: 3})
	wait := inFlight(t, c.testCluster, 3, time.Second)
	c.kill(t, 1, syscall.SIGTERM)
	c.stoppedWith(t, 3, wait)
}

// TestIntegrationProcessOneStartsTheMasterAgain kills the master under load: its workers serve on and are adopted.
func TestIntegrationProcessOneStartsTheMasterAgain(t *testing.T) {
	c := contain(t, "http", programOptions{Nodes: 2, DisableMasterListen: true, LameDuck: shortDuck})
	addr := c.ready(t)
	load := underLoad(t, addr)
	first := c.status(t)
	last := first
	for nth := range 3 {
		c.kill(t, last.PID, syscall.SIGKILL)
		s := c.awaitMaster(t, nth+2, last.PID, 2)
		assert.Equal(t, pidsOf(first), pidsOf(s), "the workers live on")
		last = s
	}
	c.kill(t, pidsOf(last)[1], syscall.SIGKILL) // process 1 reaps it
	c.awaitStatus(t, func(s control.Status) bool { return len(pidsOf(s)) == 2 && pidsOf(s)[1] != pidsOf(last)[1] })
	c.ordered(t, "/reload")
	_, failed := load()
	assert.LessOrEqual(t, len(failed), 4, "the connections of the worker: %v", failed)
	c.stopped(t)
}

// TestIntegrationProcessOneRestartsAMasterThatAccepts: without a worker, the service is back.
func TestIntegrationProcessOneRestartsAMasterThatAccepts(t *testing.T) {
	c := contain(t, "http", programOptions{Nodes: 1})
	addr := c.ready(t)
	before := survey(t, addr, 1)[0]
	c.kill(t, before.PID, syscall.SIGABRT) // exit code 2
	again := c.printed(t, "ready", 2)
	after := survey(t, again, 1)[0]
	assert.NotEqual(t, before.PID, after.PID)
	c.stopped(t)
}

func TestIntegrationProcessOneEndsWithTheProgram(t *testing.T) {
	for name, want := range map[string]int{
		"end at once":            3,
		"end before ready":       4,
		"killed before ready":    128 + 9,
		"end when it has served": 5,
		"end by itself":          0,
	} {
		t.Run(name, func(t *testing.T) {
			c := contain(t, name, programOptions{Nodes: 2})
			code, stderr := c.exit(t)
			assert.Equal(t, want, code, stderr)
			assert.Empty(t, c.processes(t), "processes")
		})
	}
}

func init() {
	programs["end at once"] = func() error {
		opts, _ := options()
		opts.Addr = "nowhere"
		if _, err := Listen(opts, new(http.Server)); err == nil {
			return errors.New("it listens")
		}
		os.Exit(3)
		return nil
	}
	programs["end before ready"] = endBeforeReady(func() { os.Exit(4) })
	programs["killed before ready"] = endBeforeReady(func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	})
	programs["end when it has served"] = endAfter(func(n *Node) error { return n.Shutdown(context.Background()) }, 5)
	programs["end by itself"] = endAfter(func(*Node) error { return nil }, 0)
}

// endBeforeReady makes the master end while its worker warms up.
func endBeforeReady(end func()) func() error {
	return func() error {
		opts, _ := options()
		opts.ManualReady = true
		n, err := Listen(opts, new(http.Server))
		if err != nil {
			return err
		}
		if n.IsMaster() {
			end()
		}
		return n.Wait()
	}
}

// endAfter makes the master end after it was ready.
func endAfter(last func(*Node) error, code int) func() error {
	return func() error {
		opts, _ := options()
		n, err := Listen(opts, new(http.Server))
		if err != nil {
			return err
		}
		if !n.IsMaster() {
			return n.Wait()
		}
		if err := n.WaitReady(context.Background()); err != nil {
			return err
		}
		if err := last(n); err != nil {
			return err
		}
		os.Exit(code)
		return nil
	}
}

// TestIntegrationProcessOneKeepsNothingOfTheProgram: what main has opened before Listen is free for the process that runs main again.
func TestIntegrationProcessOneKeepsNothingOfTheProgram(t *testing.T) {
	c := contain(t, "early listener", programOptions{Nodes: 1, Addr: freeAddr(t)})
	c.ready(t)
	c.stopped(t)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func init() {
	programs["early listener"] = func() error {
		opts, _ := options()
		if _, err := net.Listen("tcp", opts.Addr); err != nil {
			return err
		}
		opts.Addr = "127.0.0.1:0"
		n, err := Listen(opts, new(http.Server))
		if err != nil {
			return err
		}
		return waitTelling(n)
	}
}

// TestIntegrationProcessOneFollowsTheSuccessor: it does not take the end of the old master for that of the container.
func TestIntegrationProcessOneFollowsTheSuccessor(t *testing.T) {
	c := contain(t, "http", programOptions{Nodes: 3, DisableMasterListen: true, LameDuck: shortDuck})
	addr := c.ready(t)
	load := underLoad(t, addr)
	first := c.status(t)
	last := first
	for nth := range 2 {
		c.kill(t, 1, syscall.SIGUSR2)
		s := c.awaitMaster(t, nth+2, last.PID, 3)
		assert.Equal(t, pidsOf(first), pidsOf(s))
		last = s
	}
	c.kill(t, last.PID, syscall.SIGKILL)
	last = c.awaitMaster(t, 4, last.PID, 3)
	assert.Equal(t, pidsOf(first), pidsOf(last), "that the successor crashes is no end either")
	noneFailed(t, load)
	c.stopped(t)
}

// TestIntegrationProcessOneWhenTheMasterDiesInATakeover kills the master while its successor boots.
func TestIntegrationProcessOneWhenTheMasterDiesInATakeover(t *testing.T) {
	g := gate(t.TempDir())
	c := contain(t, "gated successor", programOptions{Nodes: 2, DisableMasterListen: true}, gateVariable+"="+string(g))
	c.ready(t)
	before := c.status(t)
	master := c.outside(t, before.PID)
	require.NoError(t, syscall.Kill(master, syscall.SIGUSR2))
	booting, err := strconv.Atoi(c.printed(t, "booting", 1))
	require.NoError(t, err)
	successor := c.outside(t, booting)
	require.NoError(t, syscall.Kill(master, syscall.SIGKILL))
	g.open(t, "booting")
	g.open(t, "warming")
	after := c.awaitMaster(t, 2, before.PID, 2)
	assert.Equal(t, successor, c.outside(t, after.PID))
	assert.Equal(t, pidsOf(before), pidsOf(after))
	c.stopped(t)
}
