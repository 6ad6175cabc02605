package cluster

import (
	"net"
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

// warningsAbout returns the warnings that name the option. People read them, so the tests check their text.
func (c *testCluster) warningsAbout(option string) []string {
	return c.log.find(func(line string) bool { return recordOf(line).Level == "WARN" && strings.Contains(line, option) })
}

// TestWarningOfAMasterThatAccepts: there is one if a supervisor takes the end of the master for that of the service.
func TestWarningOfAMasterThatAccepts(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	require.NoError(t, err)
	defer manager.Close()
	for name, c := range map[string]struct {
		supervises bool
		environ    []string
		warnings   int
	}{
		"a terminal":                  {},
		"a terminal of a user's unit": {environ: []string{"INVOCATION_ID=1", "SYSTEMD_EXEC_PID=1"}},
		"a unit":                      {environ: []string{"INVOCATION_ID=1", "SYSTEMD_EXEC_PID=self"}, warnings: 1},
		"a unit, supervising":         {environ: []string{"INVOCATION_ID=1", "SYSTEMD_EXEC_PID=self"}, supervises: true},
		"a manager":                   {environ: []string{"NOTIFY_SOCKET=" + socket}, warnings: 1},
	} {
		t.Run(name, func(t *testing.T) {
			const program = `[ "$SYSTEMD_EXEC_PID" != self ] || SYSTEMD_EXEC_PID=$$; exec "$0"`
			self, err := os.Executable()
			require.NoError(t, err)
			// Tests may be run by a unit themselves.
			environ := append([]string{"INVOCATION_ID=", "SYSTEMD_EXEC_PID=", "NOTIFY_SOCKET="}, c.environ...)
			p := runCommand(t, exec.Command("sh", "-c", program, self), "http",
				programOptions{Nodes: 2, DisableMasterListen: c.supervises}, environ...)
			p.ready(t)
			p.signal(t, syscall.SIGTERM)
			code, stderr := p.exit(t)
			assert.Zero(t, code, stderr)
			assert.Len(t, p.warningsAbout("Options.DisableMasterListen"), c.warnings)
		})
	}
}

func TestIntegrationWarningInAContainer(t *testing.T) {
	c := contain(t, "http", programOptions{Nodes: 2})
	c.ready(t)
	c.stopped(t)
	assert.Len(t, c.warningsAbout("Options.DisableMasterListen"), 1)
}

// TestMasterThatIsRestartedAtOnce kills a master that only supervises, again and again, while it serves and while it starts, as
// a supervisor would start it again: no request fails, and no worker is replaced.
func TestMasterThatIsRestartedAtOnce(t *testing.T) {
	t.Parallel()
	opts := orphans(t, 2)
	c := run(t, "http", opts)
	addr := c.ready(t)
	before := pidsOf(c.status(t))
	load := underLoad(t, addr)
	for range 3 {
		c.killMaster(t)
		c = run(t, "http", opts)
		assert.Eventually(t, func() bool { return c.owner().PID == c.cmd.Process.Pid }, patience, time.Millisecond)
		c.killMaster(t)
		c = run(t, "http", opts)
		c.told(t, control.EventAdopted, 1)
		c.killMaster(t)
		c = run(t, "http", opts)
		c.ready(t)
	}
	assert.Equal(t, before, pidsOf(c.status(t)))
	noneFailed(t, load)
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	c.leftNothing(t)
}
