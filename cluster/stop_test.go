//go:build linux

package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// inFlight holds a request open on each node of n, and returns when all have them. wait returns how many were
// answered.
func inFlight(t *testing.T, c *testCluster, n int, d time.Duration) (wait func() (answered, failed int)) {
	t.Helper()
	addr := c.ready(t)
	var mu sync.Mutex // guards what follows
	var answered, failed int
	var requests sync.WaitGroup
	for slot := range survey(t, addr, n) {
		p, err := connect(addr)
		for tries := 0; err == nil && tries < 1000; tries++ {
			var a answer
			if a, err = fetch(p.client, addr, "/"); a.Slot == slot {
				break
			}
			p.client.CloseIdleConnections()
			p, err = connect(addr)
		}
		require.NoError(t, err)
		requests.Go(func() {
			defer p.client.CloseIdleConnections()
			_, err := fetch(p.client, addr, "/?sleep="+d.String())
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				answered++
			} else {
				failed++
			}
		})
	}
	c.printed(t, "sleeping", n)
	return func() (int, int) {
		requests.Wait()
		return answered, failed
	}
}

// stoppedWith checks that the cluster stopped as it should, with so many requests in flight.
func (c *testCluster) stoppedWith(t *testing.T, n int, wait func() (answered, failed int)) {
	t.Helper()
	answered, failed := wait()
	assert.Equal(t, n, answered)
	assert.Zero(t, failed)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	c.gone(t)
}

func TestStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := run(t, "http", programOptions{Nodes: 3})
		wait := inFlight(t, c, 3, time.Second)
		c.signal(t, sig)
		c.stoppedWith(t, 3, wait)
	}
}

func TestInterruptOfTheWholeGroup(t *testing.T) {
	t.Parallel()
	c := runInGroup(t, "http", programOptions{Nodes: 3})
	wait := inFlight(t, c, 3, time.Second)
	require.NoError(t, syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT), "as a terminal does")
	c.stoppedWith(t, 3, wait)
}

// TestInterruptOfAGroupThatIsSupervised: all workers leave by themselves, before the master has left the port or after that.
func TestInterruptOfAGroupThatIsSupervised(t *testing.T) {
	t.Parallel()
	for range 3 {
		c := runInGroup(t, "http", programOptions{Nodes: 2, DisableMasterListen: true, LameDuck: shortDuck})
		c.ready(t)
		wait := inFlight(t, c, 2, 500*time.Millisecond)
		require.NoError(t, syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT))
		c.stoppedWith(t, 2, wait)
		assert.Empty(t, c.warnings())
	}
}

// TestInterruptOfAnIdleGroup: workers that have nothing to do are gone before the master has seen its own signal. It has a
// tenth of a second for that. On a machine where it sees it later, it replaces them, and all of them stop.
func TestInterruptOfAnIdleGroup(t *testing.T) {
	t.Parallel()
	for inTime := 0; inTime < 5 && !t.Failed(); {
		c := runInGroup(t, "http", programOptions{Nodes: 4})
		c.told(t, control.EventReady, 3)
		c.ready(t)
		require.NoError(t, syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT))
		code, stderr := c.exit(t)
		assert.Zero(t, code, stderr)
		assert.Empty(t, c.warnings())
		c.gone(t)
		<-c.events.end
		if len(c.events.find(isOf(control.EventStarted))) == 3 {
			inTime++
		}
	}
}

// warnings returns the warnings in the log, without those of a worker that is slow, as the whole machine may be.
func (c *testCluster) warnings() []string {
	return c.recorded(func(r record) bool { return r.Level == "WARN" && r.Silence == 0 })
}

func runInGroup(t *testing.T, program string, opts programOptions) *testCluster {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return runCommand(t, cmd, program, opts)
}

func TestStopCutsAfterItsTimeout(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, StopTimeout: 300 * time.Millisecond})
	wait := inFlight(t, c, 2, 20*time.Second)
	c.signal(t, syscall.SIGTERM)
	answered, failed := wait()
	assert.Zero(t, answered)
	assert.Equal(t, 2, failed)
	code, stderr := c.exit(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "requests still in flight after the time to stop were cut")
	c.gone(t)
}

func TestStopKillsWhoDoesNotLeave(t *testing.T) {
	t.Parallel()
	c := run(t, "stubborn", programOptions{Nodes: 2, StopTimeout: 100 * time.Millisecond})
	c.ready(t)
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "did not leave in time and was killed")
	assert.Contains(t, stderr, "stubbornServer", "the dump shows what it was doing")
	c.gone(t)
}

func TestSecondSignalKills(t *testing.T) {
	t.Parallel()
	const requests = 20 * time.Second // less than StopTimeout: without the second signal they are answered
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := run(t, "http", programOptions{Nodes: 3})
		wait := inFlight(t, c, 3, requests)
		c.signal(t, sig)
		c.told(t, control.EventStopping, 1)
		assert.Eventually(t, func() bool { // at once it would be the same wish
			return c.cmd.Process.Signal(sig) != nil
		}, patience, 100*time.Millisecond)
		_, failed := wait()
		assert.Equal(t, 3, failed)
		c.exit(t)
		status := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
		assert.True(t, status.Signaled())
		assert.Equal(t, sig, status.Signal(), "it ends as if the signal had not been caught")
		c.gone(t)
	}
}

// TestSecondSignalKillsWithoutACPU: a master that gets no CPU for some time still ends its workers before itself.
func TestSecondSignalKillsWithoutACPU(t *testing.T) {
	t.Parallel()
	c := run(t, "stubborn", programOptions{Nodes: 8, DisableMasterListen: true})
	c.ready(t)
	c.signal(t, syscall.SIGTERM)
	c.told(t, control.EventStopping, 1)
	isKilling := func(r record) bool { return r.Level == "WARN" && r.Signal != "" } // there are no events any more
	assert.Eventually(t, func() bool {
		if len(c.recorded(isKilling)) > 0 {
			return c.cmd.Process.Signal(syscall.SIGSTOP) == nil
		}
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // at once it would be the same wish
		return false
	}, patience, time.Millisecond)
	time.Sleep(3 * time.Second)
	c.signal(t, syscall.SIGCONT)
	c.exit(t)
	c.gone(t)
}

// TestTwoSignalsAtOnce: they are one wish, and every request is answered.
func TestTwoSignalsAtOnce(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := run(t, "http", programOptions{Nodes: 3})
		wait := inFlight(t, c, 3, time.Second)
		c.signal(t, sig)
		time.Sleep(2 * time.Millisecond) // or the kernel makes them one
		c.signal(t, sig)
		c.stoppedWith(t, 3, wait)
	}
}

// TestStopByTimeout: timeout(1) signals the master, and then the master and all workers at once.
func TestStopByTimeout(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	require.NoError(t, err)
	c := runCommand(t, exec.Command("timeout", "600", program), "http", programOptions{Nodes: 3})
	wait := inFlight(t, c, 3, time.Second)
	c.signal(t, syscall.SIGTERM) // what it does when its time is over, it does for a signal, too
	c.stoppedWith(t, 3, wait)
}

// TestSignalToAllProcesses: requests finish after a signal that reaches master and workers, and is passed on besides.
func TestSignalToAllProcesses(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := run(t, "http", programOptions{Nodes: 3})
		wait := inFlight(t, c, 3, 500*time.Millisecond)
		pids := c.processes(t)
		for range 2 { // at once: a second later it would kill
			for _, pid := range pids {
				if pid != c.cmd.Process.Pid {
					require.NoError(t, syscall.Kill(pid, sig))
				}
			}
		}
		c.told(t, control.EventDrained, 2)
		c.signal(t, syscall.SIGTERM)
		c.stoppedWith(t, 3, wait)
	}
}

func TestSecondSignalKillsAWorker(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 1, DisableMasterListen: true})
	wait := inFlight(t, c, 1, 20*time.Second)
	victim := c.told(t, control.EventReady, 1)
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGTERM))
	c.told(t, control.EventDrained, 1)
	assert.Eventually(t, func() bool { // at once it could be passed on by the master
		return syscall.Kill(victim.PID, syscall.SIGTERM) != nil
	}, patience, 100*time.Millisecond)
	assert.Equal(t, "signal: terminated", c.told(t, control.EventDied, 1).Text)
	_, failed := wait()
	assert.Equal(t, 1, failed)
}

func TestSignalToAWorkerEndsThatWorker(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3})
	addr := c.ready(t)
	victim := survey(t, addr, 3)[2]
	wait := inFlight(t, c, 3, 500*time.Millisecond)
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGTERM))
	answered, failed := wait()
	assert.Equal(t, 3, answered, "also on the worker that leaves")
	assert.Zero(t, failed)
	leave := c.told(t, control.EventLeft, 1)
	assert.Equal(t, "by itself", leave.Text)
	assert.Equal(t, victim.PID, leave.PID)
	next := c.told(t, control.EventReady, 3)
	assert.Equal(t, "exit code 0", c.status(t).Nodes[2].LastExit)
	assert.Equal(t, 2, next.Slot, "it is replaced")
	assert.Equal(t, 2, next.Generation)
}

// TestMasterKilled: workers finish their requests, and leave when no new master appears.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, OrphanTimeout: time.Second})
	addr := c.ready(t)
	wait := inFlight(t, c, 3, 2*time.Second) // longer than they wait for a master
	c.signal(t, syscall.SIGKILL)
	<-c.exited
	answered, failed := wait()
	assert.Equal(t, 3, answered+failed)
	assert.LessOrEqual(t, failed, 1, "only that of the master")
	assert.Eventually(t, func() bool { return len(c.processes(t)) == 0 }, patience, 10*time.Millisecond)

	again := run(t, "http", programOptions{Nodes: 2, Dir: c.dir, Addr: addr})
	assert.Equal(t, addr, again.ready(t), "the directory and the port can be taken again")
	again.signal(t, syscall.SIGTERM)
	code, stderr := again.exit(t)
	assert.Zero(t, code, stderr)
	left, err := filepath.Glob(c.dir + "/*")
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestMasterKilledWhileWorkersBoot(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 4, OrphanTimeout: 300 * time.Millisecond})
	c.told(t, control.EventStarted, 1)
	c.signal(t, syscall.SIGKILL)
	<-c.exited
	assert.Eventually(t, func() bool { return len(c.processes(t)) == 0 }, patience, 10*time.Millisecond)
}
