package cluster

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/node"
)

// limited runs a program that may have so many descriptors.
func limited(t *testing.T, limit int, program string, opts programOptions) *testCluster {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0"`, limit), self)
	return runCommand(t, cmd, program, opts)
}

// TestTooFewDescriptors: the program ends at once, and says which limit, how much is needed, and what to do.
func TestTooFewDescriptors(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 4, 16} {
		for _, supervises := range []bool{false, true} {
			c := limited(t, 24, "http", programOptions{Nodes: nodes, DisableMasterListen: supervises})
			code, stderr := c.exit(t)
			assert.Equal(t, 1, code)
			assert.Regexp(t, fmt.Sprintf(`^cluster: a cluster with Nodes: %d needs \d+ more file descriptors, and \d+ of the 24 that this process `+
				`may have \(RLIMIT_NOFILE\) are open: raise the limit to \d+ or more, with "ulimit -n 1024".*: too many open files\n*$`, nodes), stderr)
			c.gone(t)
		}
	}
}

// TestScaleWithTooFewDescriptors: the present nodes continue.
func TestScaleWithTooFewDescriptors(t *testing.T) {
	t.Parallel()
	c := limited(t, 80, "http", programOptions{Nodes: 2, DisableMasterListen: true})
	addr := c.ready(t)
	code, body := c.order(t, http.MethodPost, "/scale?nodes=100")
	assert.Equal(t, http.StatusInternalServerError, code)
	assert.Contains(t, body, "RLIMIT_NOFILE")
	assert.Len(t, pidsOf(c.status(t)), 2)
	survey(t, addr, 2)
}

// TestDescriptorsAreEnough: what Listen asks for is enough to start, to reload and to stop.
func TestDescriptorsAreEnough(t *testing.T) {
	t.Parallel()
	const nodes, before = 4, 12
	for _, shares := range []bool{false, true} {
		t.Run(fmt.Sprint(shares), func(t *testing.T) {
			t.Parallel()
			need := before + node.Descriptors(nodes, true, node.Sharing{Enabled: shares})
			c := limited(t, need, "http", programOptions{Nodes: nodes, DisableMasterListen: true, LameDuck: shortDuck, ShareQueues: shares})
			c.ready(t)
			c.ordered(t, "/reload")
			c.signal(t, os.Interrupt)
			code, stderr := c.exit(t)
			assert.Zero(t, code, stderr)
			assert.NotContains(t, stderr, "too many open files")
			c.gone(t)
		})
	}
}
