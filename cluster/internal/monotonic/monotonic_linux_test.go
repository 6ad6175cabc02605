package monotonic_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
)

// TestNowIsTheMachines compares with what another process reads: the uptime in /proc, which counts time asleep as well.
func TestNowIsTheMachines(t *testing.T) {
	before := monotonic.Now()
	require.Positive(t, before)
	out, err := exec.CommandContext(t.Context(), "cat", "/proc/uptime").Output()
	require.NoError(t, err)
	text, _, _ := strings.Cut(string(out), " ")
	uptime, err := time.ParseDuration(text + "s")
	require.NoError(t, err)
	const unit = 10 * time.Millisecond // of /proc/uptime
	assert.GreaterOrEqual(t, uptime+unit, before)
	assert.GreaterOrEqual(t, monotonic.Now(), before)
}
