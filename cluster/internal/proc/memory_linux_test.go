package proc

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCounter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.events")
	require.NoError(t, os.WriteFile(path, []byte("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), 0o600))
	kills, ok := counter(path, "oom_kill")
	assert.True(t, ok)
	assert.Equal(t, 2, kills)
	_, ok = counter(path, "absent")
	assert.False(t, ok)
	_, ok = counter(path+"x", "oom_kill")
	assert.False(t, ok)
}
