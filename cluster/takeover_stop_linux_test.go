package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
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
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// gatedSuccessor has successors that wait at gates: before Listen, and before they are ready. The first master takes the
// turn at its port behind the gate "hold".
func gatedSuccessor() error {
	g := gate(os.Getenv(gateVariable))
	isSuccessor := isStartedAsSuccessor()
	if isSuccessor {
		g.pass("booting")
	}
	opts, _ := options()
	opts.ManualReady = true
	told := make(chan *Node, 1)
	n, err := Listen(opts, &http.Server{Handler: handlerOf(told)})
	if err != nil {
		return err
	}
	told <- n
	if isSuccessor {
		g.pass("warming")
		if g.isOpen("failing") {
			n.node.Stop(errors.New("no licence found"), n.timeout)
		}
	}
	n.Ready()
	if n.IsMaster() && !isSuccessor {
		go holdTurn(n, g)
	}
	return waitTelling(n)
}

// holdTurn keeps the turn at the port, so that a takeover waits for it, until the node stops.
func holdTurn(n *Node, g gate) {
	g.pass("hold")
	if n.master.Steering().Hold(context.Background()) != nil {
		return
	}
	defer n.master.Steering().Release()
	fmt.Println("held", n.ID())
	stacks := make([]byte, 1<<20)
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		waits = bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("steering.(*Steering).Hold(")) // the takeover's
	}
	fmt.Println("lending", n.ID())
	<-n.node.Begun()
}

// takeoverTest is a cluster whose successor waits where the test wants it.
type takeoverTest struct {
	*testCluster
	gate
}

func startTakeoverTest(t *testing.T, opts programOptions, environ ...string) takeoverTest {
	t.Helper()
	g := gate(t.TempDir())
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c := runCommand(t, cmd, "gated successor", opts, append(environ, gateVariable+"="+string(g))...)
	c.ready(t)
	return takeoverTest{c, g}
}

// begin begins a takeover, and returns the pid of the successor when it has reached its first gate.
func (c takeoverTest) begin(t *testing.T) (successor int) {
	t.Helper()
	c.signal(t, syscall.SIGUSR2)
	return c.atGate(t, "booting")
}

func (c takeoverTest) atGate(t *testing.T, name string) (pid int) {
	t.Helper()
	pid, err := strconv.Atoi(c.printed(t, name, 1))
	require.NoError(t, err)
	return pid
}

// warm makes the successor the master, not ready yet.
func (c takeoverTest) warm(t *testing.T) (successor int) {
	t.Helper()
	c.begin(t)
	c.open(t, "booting")
	return c.atGate(t, "warming")
}

// owner returns the process that has the lock.
func (c *testCluster) owner() (owner rendezvous.Owner) {
	content, err := os.ReadFile(filepath.Join(c.dir, "master.lock"))
	if err == nil {
		_ = json.Unmarshal(content, &owner) // it may be half written
	}
	return owner
}

// TestStopDuringTakeover: after a stop at any time, of either master, all ends and nothing is left.
func TestStopDuringTakeover(t *testing.T) {
	t.Parallel()
	master := func(t *testing.T, c takeoverTest) { t.Helper(); c.signal(t, syscall.SIGTERM) }
	for name, test := range map[string]struct {
		reach func(t *testing.T, c takeoverTest) // the moment
		stop  func(t *testing.T, c takeoverTest)
	}{
		"not prepared": {
			reach: func(t *testing.T, c takeoverTest) { t.Helper(); c.begin(t) },
			stop:  master,
		},
		"waiting for the turn": {
			reach: func(t *testing.T, c takeoverTest) {
				t.Helper()
				c.open(t, "hold")
				c.printed(t, "held", 1)
				c.begin(t)
				c.open(t, "booting")
				c.printed(t, "lending", 1)
			},
			stop: master,
		},
		"joining": {
			reach: func(t *testing.T, c takeoverTest) {
				t.Helper()
				require.NoError(t, syscall.Kill(pidsOf(c.status(t))[2], syscall.SIGSTOP)) // the successor waits for it
				successor := c.begin(t)
				c.open(t, "booting")
				assert.Eventually(t, func() bool { return c.owner().PID == successor }, patience, time.Millisecond)
			},
			stop: func(t *testing.T, c takeoverTest) {
				t.Helper()
				master(t, c)
				for _, pid := range c.processes(t) {
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
			},
		},
		"warming up": {
			reach: func(t *testing.T, c takeoverTest) { t.Helper(); c.warm(t) },
			stop:  master,
		},
		"just done": {
			reach: func(t *testing.T, c takeoverTest) {
				t.Helper()
				c.warm(t)
				link := filepath.Join(c.dir, "master.sock")
				before, err := os.Readlink(link)
				require.NoError(t, err)
				c.signal(t, syscall.SIGSTOP) // it cannot receive the word
				c.open(t, "warming")
				assert.Eventually(t, func() bool { // the last that the successor does before it says it
					now, err := os.Readlink(link)
					return err == nil && now != before
				}, patience, time.Millisecond)
			},
			stop: func(t *testing.T, c takeoverTest) {
				t.Helper()
				master(t, c)
				c.signal(t, syscall.SIGCONT)
			},
		},
		"to the successor": {
			reach: func(t *testing.T, c takeoverTest) { t.Helper(); c.warm(t) },
			stop: func(t *testing.T, c takeoverTest) {
				t.Helper()
				require.NoError(t, syscall.Kill(c.atGate(t, "warming"), syscall.SIGTERM))
			},
		},
		"to the whole group": {
			reach: func(t *testing.T, c takeoverTest) { t.Helper(); c.warm(t) },
			stop: func(t *testing.T, c takeoverTest) {
				t.Helper()
				require.NoError(t, syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT))
			},
		},
		"by the control API": {
			reach: func(t *testing.T, c takeoverTest) { t.Helper(); c.warm(t) },
			stop: func(t *testing.T, c takeoverTest) {
				t.Helper()
				code, body := c.order(t, "POST", "/stop")
				assert.Equal(t, http.StatusAccepted, code, body)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startTakeoverTest(t, programOptions{Nodes: 3, LivenessTimeout: time.Hour})
			test.reach(t, c)
			wait := func() (answered, failed int) { return 3, 0 }
			if name == "warming up" {
				wait = inFlight(t, c.testCluster, 3, time.Second)
			}
			test.stop(t, c)
			c.stoppedWith(t, 3, wait)
			assert.Empty(t, c.recorded(func(r record) bool { return r.Level == "WARN" && r.Address != "" }), "connections may be lost")
			assert.Empty(t, c.recorded(func(r record) bool { return strings.Contains(r.Reason+r.Error, "killed") }))
		})
	}
}

// TestSecondSignalDuringTakeover kills the successor, too.
func TestSecondSignalDuringTakeover(t *testing.T) {
	t.Parallel()
	c := startTakeoverTest(t, programOptions{Nodes: 3})
	c.warm(t)
	wait := inFlight(t, c.testCluster, 3, 20*time.Second)
	c.signal(t, syscall.SIGTERM)
	c.told(t, control.EventStopping, 1)
	assert.Eventually(t, func() bool { return c.cmd.Process.Signal(syscall.SIGTERM) != nil }, patience, 100*time.Millisecond)
	_, failed := wait()
	assert.Equal(t, 3, failed)
	c.exit(t)
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	assert.Equal(t, syscall.SIGTERM, status.Signal())
	assert.Empty(t, c.processes(t))
}

// TestSignalAfterTakeover: the old master leaves by itself, and a late signal to it does not stop the cluster.
func TestSignalAfterTakeover(t *testing.T) {
	t.Parallel()
	c := startTakeoverTest(t, programOptions{Nodes: 2})
	end, addr := make(chan error, 1), c.out.address(t)
	go func() { // ends with the request
		_, err := get(addr, "/?sleep=3s")
		end <- err
	}()
	c.printed(t, "sleeping", 1)
	successor := c.warm(t)
	c.open(t, "warming")
	c.told(t, control.EventHandedOver, 1)
	time.Sleep(node.PassedOn + 100*time.Millisecond) // it is later than a second, whatever the machine does
	_ = c.cmd.Process.Signal(syscall.SIGTERM)        // it may be gone
	<-c.exited
	require.NoError(t, <-end)
	c.awaitStatus(t, func(s control.Status) bool { return s.PID == successor && len(pidsOf(s)) == 2 })
	c.neverTold(t, control.EventStopping)
	require.NoError(t, syscall.Kill(successor, syscall.SIGTERM))
	<-c.log.end
	c.gone(t)
}

// address returns what a program printed when it was ready.
func (l lines) address(t *testing.T) string {
	t.Helper()
	return strings.TrimPrefix(l.await(t, 1, func(line string) bool { return strings.HasPrefix(line, "ready ") }), "ready ")
}

// TestMasterServesDuringTakeover: status, the keep-alive for the service manager, probes and exits continue while the
// successor warms up.
func TestMasterServesDuringTakeover(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: address})
	require.NoError(t, err)
	messages := newLines()
	t.Cleanup(func() {
		assert.NoError(t, manager.Close())
		<-messages.end
	})
	go func() { // ends with the socket
		defer close(messages.end)
		datagram := make([]byte, 1024)
		for {
			n, err := manager.Read(datagram)
			if err != nil {
				return
			}
			messages.add(string(datagram[:n]))
		}
	}()
	signs := func() int { return strings.Count(messages.text(), "WATCHDOG=1") }

	c := startTakeoverTest(t, programOptions{Nodes: 3}, "NOTIFY_SOCKET="+address, "WATCHDOG_USEC=200000")
	first := c.cmd.Process.Pid
	for _, where := range []func(){func() { c.begin(t) }, func() { c.open(t, "booting"); c.atGate(t, "warming") }} {
		where()
		before := signs()
		assert.Eventually(t, func() bool { return signs() >= before+5 }, patience, time.Millisecond)
		s := c.status(t)
		assert.Equal(t, "takeover", s.Doing)
		assert.Equal(t, first, s.PID)
		assert.Len(t, pidsOf(s), 3)
	}
	victim := pidsOf(c.status(t))[1]
	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	c.awaitStatus(t, func(s control.Status) bool { pid := pidsOf(s)[1]; return s.PID == first && pid != 0 && pid != victim })
	assert.NotContains(t, messages.text(), "MAINPID")

	c.open(t, "warming")
	successor := c.atGate(t, "warming")
	messages.await(t, 1, func(line string) bool {
		return strings.HasPrefix(line, fmt.Sprintf("MAINPID=%d\nWATCHDOG=1", successor))
	})
	c.printed(t, "ready", 2)
	c.awaitStatus(t, func(s control.Status) bool { return s.PID == successor && s.Doing == "" && len(pidsOf(s)) == 3 })
	require.NoError(t, syscall.Kill(successor, syscall.SIGTERM))
	<-c.log.end
	c.gone(t)
}

// TestTakeoverThatIsGivenUp: a successor that fails when it has the workers already gives them back, with those that it has
// started, and loses nothing.
func TestTakeoverThatIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(t *testing.T, c takeoverTest, successor int){
		"it fails": func(t *testing.T, c takeoverTest, _ int) {
			t.Helper()
			c.open(t, "failing")
			c.open(t, "warming")
		},
		"it is killed": func(t *testing.T, _ takeoverTest, successor int) {
			t.Helper()
			require.NoError(t, syscall.Kill(successor, syscall.SIGKILL))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startTakeoverTest(t, programOptions{Nodes: 4, DisableMasterListen: true})
			end := underLoad(t, c.out.address(t))
			before := pidsOf(c.status(t))
			successor := c.warm(t)
			require.NoError(t, syscall.Kill(before[2], syscall.SIGTERM)) // gently, for the load
			// The successor starts another one, and the old master knows of it.
			s := c.awaitStatus(t, func(s control.Status) bool { pid := pidsOf(s)[2]; return pid != 0 && pid != before[2] })
			started := pidsOf(s)[2]
			fail(t, c, successor)
			c.told(t, control.EventFailed, 1)
			after := c.awaitStatus(t, func(s control.Status) bool { return s.Doing == "" && len(pidsOf(s)) == 4 && s.Steering.Known })
			assert.Equal(t, c.cmd.Process.Pid, after.PID)
			for slot, pid := range pidsOf(after) {
				if slot == 2 {
					assert.Equal(t, started, pid, "the worker of the successor is ours")
				} else {
					assert.Equal(t, before[slot], pid)
				}
			}
			c.ordered(t, "/reload")
			requests, failed := end()
			if name == "it fails" {
				assert.Empty(t, failed, "of %d", requests)
			}
			c.signal(t, syscall.SIGTERM)
			code, stderr := c.exit(t)
			assert.Zero(t, code, stderr)
			c.gone(t)
		})
	}
}
