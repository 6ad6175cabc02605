package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// firstProtocol is the last commit whose masters and workers talked by one message for all that there is to say. The transcripts of
// package protocol are those of it.
const firstProtocol = "8ce03a24a69658b463d8478124f9aad5d0434efe"

// buildOf returns the test binary of this package as it was at a commit.
func buildOf(t *testing.T, commit string) (binary string) {
	t.Helper()
	run := func(dir, name string, args ...string) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		output, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, output)
	}
	if err := exec.CommandContext(t.Context(), "git", "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		t.Skipf("no repository with commit %s is at hand: %v", commit, err)
	}
	tree, archive := t.TempDir(), filepath.Join(t.TempDir(), "tree.tar")
	run("..", "git", "archive", "--output", archive, commit, "go.mod", "go.sum", "cluster", "framing", "internal", "peer", "reuseport")
	run(tree, "tar", "xf", archive)
	binary = filepath.Join(tree, "cluster.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-o", binary, "./cluster")
	cmd.Dir, cmd.Env = tree, append(os.Environ(), "GOWORK=off")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return binary
}

// TestOtherVersion deploys a version over another one: workers are adopted by a master of the other version, by a takeover and after
// their master was killed, and then replaced by a reload. No request fails.
func TestOtherVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles another version")
	}
	t.Parallel()
	read := func(path string) []byte {
		program, err := os.ReadFile(path)
		require.NoError(t, err)
		return program
	}
	old, this := read(buildOf(t, firstProtocol)), read(os.Args[0])
	for name, c := range map[string]struct {
		from, to []byte
		killed   bool
	}{
		"a takeover by this version":  {old, this, false},
		"a takeover by the old one":   {this, old, false},
		"an adoption by this version": {old, this, true},
		"an adoption by the old one":  {this, old, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "cluster.test")
			install(t, program, c.from)
			opts := orphans(t, 3)
			cluster := runCommand(t, exec.Command(program), "http", opts)
			addr := cluster.ready(t)
			before := cluster.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known && len(pidsOf(s)) == 3 })
			load := underLoad(t, addr)
			install(t, program, c.to)
			if c.killed {
				cluster.killMaster(t)
				cluster = runCommand(t, exec.Command(program), "http", opts)
				require.Equal(t, addr, cluster.ready(t))
			} else {
				cluster.signal(t, syscall.SIGUSR2)
				cluster.printed(t, "ready", 2)
				<-cluster.exited
			}
			adopted := cluster.awaitStatus(t, func(s control.Status) bool { return s.PID != before.PID && s.Steering.Known && s.Doing == "" })
			assert.Equal(t, pidsOf(before), pidsOf(adopted), "no worker is replaced")
			cluster.ordered(t, "/reload")
			after := cluster.status(t)
			require.Len(t, pidsOf(after), 3)
			for slot, pid := range pidsOf(after) {
				assert.NotEqual(t, pidsOf(before)[slot], pid)
			}
			noneFailed(t, load)
			survey(t, addr, 3)
			require.NoError(t, syscall.Kill(after.PID, syscall.SIGTERM))
			code, stderr := cluster.exit(t)
			assert.Zero(t, code, stderr)
			cluster.leftNothing(t)
		})
	}
}
