package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIntegrationOutOfMemory makes the kernel kill a worker that exceeds its memory control group.
func TestIntegrationOutOfMemory(t *testing.T) {
	group := memoryGroup(t, 200<<20)
	for range 8 { // the memory of the first victim comes back late, and the kernel looks for another: that is not to be the master
		decoy := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && echo 500 > /proc/$$/oom_score_adj && exec sleep 60`, group)
		require.NoError(t, decoy.Start())
		t.Cleanup(func() {
			_ = decoy.Process.Kill() // the kernel may have done it
			_ = decoy.Wait()
		})
	}
	cmd := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$1"`, group, os.Args[0])
	c := runCommand(t, cmd, "greedy", programOptions{Nodes: 2})
	c.ready(t)
	death, logged := c.died(t, 1)
	assert.Equal(t, "out of memory, killed by the kernel", death.Text)
	assert.True(t, *logged.WasReady)
}

// memoryGroup makes a memory control group with a limit in bytes.
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes" // version 1
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, file = "/sys/fs/cgroup", "memory.max"
	}
	group := filepath.Join(root, fmt.Sprintf("multinode-test-%d", os.Getpid()))
	err := os.Mkdir(group, 0o755)
	if err == nil {
		t.Cleanup(func() { // the last processes may still be leaving it
			assert.EventuallyWithT(t, func(c *assert.CollectT) { assert.NoError(c, os.Remove(group)) }, patience, time.Millisecond)
		})
		err = os.WriteFile(filepath.Join(group, file), fmt.Appendf(nil, "%d", limit), 0)
	}
	if err != nil {
		t.Skipf("no memory control group of our own (%v): run as root, with %s writable", err, root)
	}
	return group
}

func init() { programs["greedy"] = greedy }

// greedy has a worker that takes memory until it is killed.
func greedy() error {
	opts, _ := options()
	n, err := Listen(opts, new(http.Server))
	if err != nil {
		return err
	}
	if n.IsMaster() {
		return waitTelling(n)
	}
	if err := n.WaitReady(context.Background()); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil { // it is to be this one, and not the master
		return err
	}
	var hoard [][]byte
	for range 1 << 10 {
		memory := make([]byte, 1<<20)
		for i := range memory {
			memory[i] = 1
		}
		hoard = append(hoard, memory)
	}
	return errors.New("nobody minds " + fmt.Sprint(len(hoard)))
}
