package cluster

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// warnings returns the warnings that name the option.
func (c *testCluster) warnings(option string) (all []string) {
	for line := range strings.Lines(c.log.text()) {
		var r record
		if json.Unmarshal([]byte(line), &r) == nil && r.Level == "WARN" && strings.Contains(r.Msg, option) {
			all = append(all, r.Msg)
		}
	}
	return all
}

// TestWarningOfAMasterThatAccepts: there is one where somebody outside takes the end of the master for that of the service.
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
			assert.Len(t, p.warnings("Options.DisableMasterListen"), c.warnings)
		})
	}
}

func TestIntegrationWarningInAContainer(t *testing.T) {
	c := contain(t, "http", programOptions{Nodes: 2})
	c.ready(t)
	c.stopped(t)
	assert.Len(t, c.warnings("Options.DisableMasterListen"), 1)
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
		c.logged(t, "worker adopted", 1)
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
