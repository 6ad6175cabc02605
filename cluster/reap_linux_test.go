package cluster

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReapStrangersTakesThoseThatNobodyWaitsFor(t *testing.T) {
	child, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	require.NoError(t, err)
	assert.Eventually(t, func() bool { return zombiesOf(os.Getpid())[child.Pid] }, patience, time.Millisecond)

	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		reapStrangers(done, 10*time.Millisecond)
		close(ended)
	}()
	assert.Eventually(t, func() bool { return !zombiesOf(os.Getpid())[child.Pid] }, patience, time.Millisecond)
	close(done)
	<-ended
	_, err = child.Wait()
	assert.ErrorIs(t, err, syscall.ECHILD)
}

func TestReapStrangersLeavesWhoIsWaitedFor(t *testing.T) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		reapStrangers(done, time.Hour)
		close(ended)
	}()
	for range 20 {
		require.NoError(t, exec.Command("/bin/true").Run())
	}
	close(done)
	<-ended
}

// TestIntegrationProcessOne runs a master as process 1 of a container. It leaves an orphan behind, which must be reaped,
// and stops by SIGTERM although the kernel has no default action for process 1.
func TestIntegrationProcessOne(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		if err := exec.Command("unshare", "--user", "--pid", "--mount", "--map-root-user", "true").Run(); err != nil {
			t.Skipf("no namespace of our own (%v): run as root, or sysctl kernel.unprivileged_userns_clone=1", err)
		}
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	c := runCommand(t, cmd, "process one", programOptions{Nodes: 2})
	c.printed(t, "orphan", 1) // died
	c.printed(t, "orphan", 2) // reaped
	c.ready(t)
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	c.gone(t)
}

func init() { programs["process one"] = processOne }

// processOne leaves an orphan, which falls to process 1.
func processOne() error {
	if inherited == nil { // /proc is still that of the outer namespace
		if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
			return err
		}
		if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return err
		}
	}
	opts, _ := options()
	n, err := Listen(opts, new(http.Server))
	if err != nil {
		return err
	}
	if n.IsMaster() {
		if err := exec.Command("sh", "-c", "(exit 3) & exit 0").Run(); err != nil {
			return err
		}
		for _, want := range []int{1, 0} {
			for len(zombiesOf(1)) != want {
				time.Sleep(time.Millisecond)
			}
			fmt.Println("orphan", want)
		}
	}
	return waitTelling(n)
}
