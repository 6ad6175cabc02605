package proctree_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/proctree"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

var never = make(chan struct{})

var now = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// shell starts a shell as the root of a tree. It returns the words that its script prints, which must be count.
func shell(t *testing.T, mark, script string, count int) (cmd *exec.Cmd, tree *proctree.Tree, pids []int) {
	t.Helper()
	cmd = exec.Command("sh", "-c", script)
	cmd.SysProcAttr = proctree.Attributes()
	cmd.Env = append(os.Environ(), "TREE="+mark)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	tree = proctree.New(cmd.Process.Pid, mark)
	lines := bufio.NewScanner(out)
	for range count {
		require.True(t, lines.Scan(), "the script has ended")
		pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, p := range tree.Left() {
			_ = p.Signal(syscall.SIGKILL)
		}
	})
	return cmd, tree, pids
}

func pidsOf(processes []proctree.Process) (pids []int) {
	for _, p := range processes {
		pids = append(pids, p.PID)
	}
	return pids
}

// TestTreeIsWhatItsRootHasStarted finds members of the group, those that have left it, and what those have started.
func TestTreeIsWhatItsRootHasStarted(t *testing.T) {
	for name, script := range map[string]string{
		"in its group":            "sleep 1000 & echo $!; wait",
		"in a session of its own": "setsid sh -c 'echo $$; exec sleep 1000' & wait",
		"without an environment":  "env -i sleep 1000 & echo $!; wait",
		"of a daemon":             "setsid sh -c 'env -i setsid sleep 1000 & echo $!; wait' & wait",
	} {
		t.Run(name, func(t *testing.T) {
			cmd, tree, pids := shell(t, t.Name(), script, 1)
			assert.Subset(t, pidsOf(tree.Left()), pids)
			assert.NotContains(t, pidsOf(tree.Left()), cmd.Process.Pid)
			assert.NotContains(t, pidsOf(tree.Left()), os.Getpid())

			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()
			assert.Subset(t, pidsOf(tree.Left()), pids)
			found, alive := proctree.End(tree.Left, syscall.SIGTERM, never)
			assert.Empty(t, alive)
			assert.Empty(t, tree.Left())
			assert.Subset(t, pidsOf(found), pids)
		})
	}
}

// TestTreeKeepsWhatWasNoted, also when nothing leads there any more.
func TestTreeKeepsWhatWasNoted(t *testing.T) {
	cmd, tree, pids := shell(t, t.Name(), "env -i setsid sh -c 'echo $$; exec sleep 1000' >&1 & wait", 1)
	tree.Note()
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	assert.Equal(t, pids, pidsOf(tree.Left()))
	_, alive := proctree.End(tree.Left, syscall.SIGTERM, never)
	assert.Empty(t, alive)
	assert.Empty(t, tree.Left())
}

func TestTreeOfAnotherIsLeftAlone(t *testing.T) {
	_, mine, _ := shell(t, "mine", "sleep 1000 & echo $!; wait", 1)
	_, theirs, pids := shell(t, "theirs", "setsid sh -c 'echo $$; exec sleep 1000' & wait", 1)
	_, alive := proctree.End(mine.Left, syscall.SIGTERM, never)
	assert.Empty(t, alive)
	assert.Subset(t, pidsOf(theirs.Left()), pids)
}

// TestEndKillsProcessesThatDoNotEnd: a process that ignores the signal, and a stopped one.
func TestEndKillsProcessesThatDoNotEnd(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, int){
		"ignores": func(*testing.T, int) {},
		"stopped": func(t *testing.T, pid int) {
			t.Helper()
			require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, tree, pids := shell(t, t.Name(), "(trap '' TERM; echo $(exec sh -c 'echo $PPID'); while :; do sleep 1000; done) & wait", 1)
			prepare(t, pids[0])
			found, alive := proctree.End(tree.Left, syscall.SIGTERM, now)
			assert.Empty(t, alive)
			assert.Subset(t, pidsOf(found), pids)
			assert.Empty(t, tree.Left())
		})
	}
}

func TestEndOfNothing(t *testing.T) {
	found, alive := proctree.End(func() []proctree.Process { return nil }, syscall.SIGTERM, now)
	assert.Empty(t, found)
	assert.Empty(t, alive)
}

// TestSignalGoesToNobodyElse: a process that is gone has no successor that gets its signals.
func TestSignalGoesToNobodyElse(t *testing.T) {
	_, tree, _ := shell(t, t.Name(), "sleep 1000 & echo $!; wait", 1)
	var left []proctree.Process
	require.Eventually(t, func() bool { // until then it is another shell
		left = tree.Left()
		return len(left) == 1 && strings.HasPrefix(left[0].String(), "sleep (pid ")
	}, await.Limit, time.Millisecond)
	proctree.End(tree.Left, syscall.SIGKILL, never)
	assert.Eventually(t, func() bool { // its shell has to wait for it
		return errors.Is(left[0].Signal(syscall.SIGKILL), os.ErrProcessDone)
	}, await.Limit, time.Millisecond)
}

// TestAdoptAndReap: a daemon that wipes its tracks becomes a child of ours, is found, and is reaped; a child of ours that
// is waited for is left alone.
func TestAdoptAndReap(t *testing.T) {
	require.NoError(t, proctree.Adopt())
	own := exec.Command("sh", "-c", "exit 3")
	require.NoError(t, own.Start())
	nobody := func(int) bool { return false }

	cmd, _, pids := shell(t, t.Name(), "env -i setsid sh -c 'echo $$; exec sleep 1000' >&1 & wait $!", 1)
	known := func(pid int) bool { return pid == cmd.Process.Pid }
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	assert.Equal(t, pids, pidsOf(proctree.Orphans(known)))
	assert.Empty(t, proctree.Orphans(func(pid int) bool { return pid == pids[0] }), "it is known")

	_, alive := proctree.End(func() []proctree.Process { return proctree.Orphans(known) }, syscall.SIGTERM, never)
	assert.Empty(t, alive)
	proctree.Reap(known, nobody)
	require.ErrorIs(t, syscall.Kill(pids[0], 0), syscall.ESRCH, "it was reaped")

	err := own.Wait()
	var status *exec.ExitError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, 3, status.ExitCode())
}
