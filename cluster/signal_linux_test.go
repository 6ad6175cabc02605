package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
)

// gate is where a program waits until the test opens it: a file in a directory that gateVariable names.
type gate string

const gateVariable = "MULTINODE_TEST_GATE"

// pass says in a line that the program is there, and waits.
func (g gate) pass(name string) {
	fmt.Println(name, os.Getpid())
	for !g.isOpen(name) {
		time.Sleep(time.Millisecond)
	}
}

func (g gate) isOpen(name string) bool {
	_, err := os.Stat(filepath.Join(string(g), name))
	return err == nil
}

func (g gate) open(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(string(g), name), nil, 0o600))
}

// gatedReplacements has workers that wait before Listen if they are to replace others.
func gatedReplacements() error {
	if role, _ := boot.InheritedRole(); role != nil && role.Generation > 1 {
		gate(os.Getenv(gateVariable)).pass("replacement")
	}
	return serveHTTP()
}

// ownHangup reads its configuration again when it gets a SIGHUP.
func ownHangup() error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			fmt.Println("configured", os.Getpid())
		}
	}()
	opts, _ := options()
	opts.LeaveSignals = []os.Signal{syscall.SIGHUP}
	return serveWith(opts)
}

// ownSignals stops its node by itself.
func ownSignals() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	opts, _ := options()
	opts.DisableSignals = true
	told := make(chan *Node, 1)
	n, err := Listen(opts, &http.Server{Handler: handlerOf(told)})
	if err != nil {
		return err
	}
	told <- n
	context.AfterFunc(ctx, func() { _ = n.Shutdown(context.Background()) }) // the error is that of Wait
	return waitTelling(n)
}

// TestHangupsAreMerged: while a reload runs, another one waits for all further hangups, which the log says once.
func TestHangupsAreMerged(t *testing.T) {
	t.Parallel()
	g := gate(t.TempDir())
	c := run(t, "gated replacements", programOptions{Nodes: 2, DisableMasterListen: true, LameDuck: shortDuck},
		gateVariable+"="+string(g))
	c.ready(t)
	c.signal(t, syscall.SIGHUP)
	c.printed(t, "replacement", 1)
	for range 200 {
		c.signal(t, syscall.SIGHUP)
		time.Sleep(100 * time.Microsecond) // or the kernel merges them
	}
	// The one that runs, the one that waits, and that others were merged with it. None of them is an event.
	isReload := func(r record) bool { return r.Signal != "" && r.Order == "reload" }
	assert.Eventually(t, func() bool { // a master that has no CPU meanwhile gets all of them as one
		c.signal(t, syscall.SIGHUP)
		return len(c.recorded(isReload)) == 3
	}, patience, 10*time.Millisecond)
	for range 3 {
		c.signal(t, syscall.SIGTTIN)
	}
	g.open(t, "replacement")
	c.told(t, control.EventScaled, 1)
	c.told(t, control.EventReloaded, 2)
	c.ordered(t, "/scale?nodes=2") // behind all that still waits
	c.told(t, control.EventScaled, 2)
	assert.Len(t, c.events.find(isOf(control.EventReloading)), 2, "the order that ran, and the order that waited")
	assert.Len(t, c.events.find(isOf(control.EventScaling)), 2, "that of the signals, and that of the test")
	bySignal := c.recorded(func(r record) bool { return r.Signal != "" && r.Order != "" })
	assert.LessOrEqual(t, len(bySignal), 2*3, "two reloads, a scale, and for each once that signals were merged")
}

// TestScaleBySignalKeepsItsBounds: what is beyond the last node is no error if there was something to do.
func TestScaleBySignalKeepsItsBounds(t *testing.T) {
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, LameDuck: shortDuck})
	c.ready(t)
	c.signal(t, syscall.SIGTTOU)
	c.told(t, control.EventScaled, 1)
	c.signal(t, syscall.SIGTTOU)
	assert.Contains(t, c.told(t, control.EventFailed, 1).Text, "scale to 0: it must be 1 to 1024 nodes")
	assert.Len(t, pidsOf(c.status(t)), 1)
}

// TestSignalLeftToTheProgram: SIGHUP is the program's in all processes, and SIGTERM the node's.
func TestSignalLeftToTheProgram(t *testing.T) {
	t.Parallel()
	c := run(t, "own hangup", programOptions{Nodes: 3})
	wait := inFlight(t, c, 3, time.Second)
	pids := pidsOf(c.status(t))
	require.Len(t, pids, 3)
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, syscall.SIGHUP))
		c.out.await(t, 1, func(line string) bool { return line == "configured "+strconv.Itoa(pid) })
	}
	assert.Equal(t, pids, pidsOf(c.status(t)), "no worker was replaced")
	c.neverTold(t, control.EventReloading)
	c.signal(t, syscall.SIGTERM)
	c.stoppedWith(t, 3, wait)
}

// TestDisableSignals: the program stops its nodes by Shutdown, in master and workers.
func TestDisableSignals(t *testing.T) {
	t.Parallel()
	c := run(t, "own signals", programOptions{Nodes: 3})
	wait := inFlight(t, c, 3, time.Second)
	worker := pidsOf(c.status(t))[1]
	require.NoError(t, syscall.Kill(worker, syscall.SIGTERM))
	assert.Equal(t, worker, c.told(t, control.EventLeft, 1).PID)
	c.told(t, control.EventReady, 3)
	c.signal(t, syscall.SIGTERM)
	c.stoppedWith(t, 3, wait)

	c = run(t, "own signals", programOptions{Nodes: 2})
	c.ready(t)
	c.signal(t, syscall.SIGHUP)
	c.exit(t)
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	assert.Equal(t, syscall.SIGHUP, status.Signal(), "it does what it does without this package")
}

func TestTakenSignals(t *testing.T) {
	assert.True(t, Options{}.takes(syscall.SIGTERM))
	assert.False(t, Options{DisableSignals: true}.takes(syscall.SIGTERM))
	left := Options{LeaveSignals: []os.Signal{syscall.SIGUSR2, syscall.SIGHUP}}
	assert.False(t, left.takes(syscall.SIGHUP))
	assert.True(t, left.takes(os.Interrupt))
}

// noPIDFile continues although Listen has failed near its end.
func noPIDFile() error {
	opts, _ := options()
	opts.PIDFile = "/dev/null/pid"
	_, err := Listen(opts, new(http.Server))
	fmt.Println("failed", err)
	time.Sleep(patience)
	return nil
}

func TestSignalAfterListenHasFailed(t *testing.T) {
	c := run(t, "no pid file", programOptions{Nodes: 2})
	require.Contains(t, c.printed(t, "failed", 1), "/dev/null/pid")
	c.signal(t, syscall.SIGTERM)
	c.exit(t)
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	assert.Equal(t, syscall.SIGTERM, status.Signal(), "the signals are the program's again")
}
