package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// TestTakeover replaces the master three times under load, and a reload follows the last takeover: no request fails,
// and no worker notices.
func TestTakeover(t *testing.T) {
	t.Parallel()
	for name, supervising := range map[string]bool{"the master accepts": false, "the master supervises": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: supervising})
			addr := c.ready(t)
			end := underLoad(t, addr)
			first := c.status(t)
			last := first
			for nth := range 3 {
				require.NoError(t, syscall.Kill(last.PID, syscall.SIGUSR2))
				c.printed(t, "ready", nth+2)
				now := c.awaitStatus(t, func(s control.Status) bool { return s.PID != last.PID && s.Steering.Known && len(pidsOf(s)) == 3 })
				assert.Greater(t, masterIDOf(now), masterIDOf(last), "ids count on")
				last = now
			}
			<-c.exited
			for slot, pid := range pidsOf(first) {
				if slot > 0 {
					assert.Equal(t, pid, pidsOf(last)[slot], "slot %d", slot)
				}
			}
			c.ordered(t, "/reload")
			for slot, pid := range pidsOf(c.status(t)) {
				assert.NotEqual(t, pidsOf(last)[slot], pid, "slot %d", slot)
			}
			requests, failed := end()
			assert.Empty(t, failed, "of %d", requests)
			c.neverTold(t, control.EventStranger)

			require.NoError(t, syscall.Kill(last.PID, syscall.SIGTERM))
			code, stderr := c.exit(t)
			assert.Zero(t, code, stderr)
			c.gone(t)
		})
	}
}

// impatientSuccessor has successors that wait 5 s for an answer.
func impatientSuccessor() error {
	opts, _ := options()
	if isStartedAsSuccessor() {
		opts.LivenessTimeout = 5 * time.Second
	}
	return serveWith(opts)
}

// TestTakeoverOfOneThatIsStopped: it is not for a successor to end what it cannot reach.
func TestTakeoverOfOneThatIsStopped(t *testing.T) {
	t.Parallel()
	c := run(t, "impatient successor", programOptions{Nodes: 3, DisableMasterListen: true, LivenessTimeout: time.Hour})
	c.ready(t)
	before := c.status(t)
	require.NoError(t, syscall.Kill(pidsOf(before)[2], syscall.SIGSTOP))
	code, body := c.order(t, "POST", "/takeover")
	require.NoError(t, syscall.Kill(pidsOf(before)[2], syscall.SIGCONT))
	assert.Equal(t, 500, code)
	assert.Contains(t, body, "the successor has failed, this master continues")
	late := fmt.Sprintf("the workers with the pids [%d] did not answer their new master for 5s", pidsOf(before)[2])
	c.log.await(t, 1, func(line string) bool { return strings.Contains(line, late) }) // the error with which the successor ends
	after := c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known && len(pidsOf(s)) == 3 })
	assert.Equal(t, before.PID, after.PID)
	assert.Equal(t, pidsOf(before), pidsOf(after))

	require.NoError(t, syscall.Kill(before.PID, syscall.SIGUSR2))
	c.printed(t, "ready", 2)
	c.awaitStatus(t, func(s control.Status) bool { return s.PID != before.PID && len(pidsOf(s)) == 3 })
}

// TestTakeoverByABrokenProgram: the master continues, with its workers and its port.
func TestTakeoverByABrokenProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "program")
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, binary, 0o700))
	c := runCommand(t, exec.Command(program), "http", programOptions{Nodes: 3})
	addr := c.ready(t)
	before := c.status(t)
	end := underLoad(t, addr)
	replace(t, program, "#!/bin/sh\necho cannot go on >&2\nexit 3\n")
	code, body := c.order(t, "POST", "/takeover")
	assert.Equal(t, 500, code)
	assert.Contains(t, body, "the successor has failed, this master continues")
	assert.Contains(t, body, "exit status 3")

	replace(t, program, string(binary))
	c.ordered(t, "/reload")
	assert.Equal(t, before.PID, c.status(t).PID)
	requests, failed := end()
	assert.Empty(t, failed, "of %d", requests)
	c.signal(t, syscall.SIGTERM)
	exit, stderr := c.exit(t)
	assert.Zero(t, exit, stderr)
	c.gone(t)
}

// replace replaces a program that may be running.
func replace(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(content), 0o700))
	require.NoError(t, os.Rename(path+".new", path))
}

func masterIDOf(s control.Status) int {
	for _, n := range s.Nodes {
		if n.Master {
			return n.ID
		}
	}
	return -1
}

func TestSuccessionIsNotInherited(t *testing.T) {
	_, found := os.LookupEnv("MULTINODE_SUCCESSION")
	assert.False(t, found || strings.Contains(strings.Join(os.Environ(), " "), "MULTINODE_ROLE"))
}
