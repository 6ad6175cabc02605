package rendezvous

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openAt opens a directory, as another process does, and closes it after the test.
func openAt(t *testing.T, path string) *Directory {
	t.Helper()
	d, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

// removeAll removes a directory that others may make again meanwhile.
func removeAll(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool { return os.RemoveAll(path) == nil }, limit, time.Millisecond)
}

// The user that made the parent again could exchange our files in it.
func TestMendUnderAForeignParent(t *testing.T) {
	base := t.TempDir()
	parent := filepath.Join(base, "base")
	d := openAt(t, filepath.Join(parent, "web"))
	other := filepath.Join(base, "other")
	require.NoError(t, os.Mkdir(other, 0o755)) // now, as it could have the inode of the removed one later
	removeAll(t, parent)
	require.NoError(t, os.Rename(other, parent))
	require.ErrorContains(t, d.Mend(), parent+": its mode 0755 lets others in")
	assert.NoDirExists(t, d.Path())
	require.NoError(t, os.Chmod(parent, 0o700))
	require.NoError(t, d.Mend())
	assert.DirExists(t, d.Path())
}

// The process that has made a directory removes it, also when another has made it again.
func TestRemoveAfterMend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "base", "web")
	first, err := Open(path)
	require.NoError(t, err)
	second, err := Open(path)
	require.NoError(t, err)
	removeAll(t, filepath.Dir(path))
	require.NoError(t, second.Mend())
	require.NoError(t, first.Mend())
	require.NoError(t, second.Remove(), "the first one has it open")
	assert.DirExists(t, path)
	require.NoError(t, first.Remove())
	assert.NoDirExists(t, filepath.Dir(path))
}

// Another directory that is at the path by now stays.
func TestRemoveOfWhatWasReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	d, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	require.NoError(t, d.Remove())
	assert.DirExists(t, path)
}
