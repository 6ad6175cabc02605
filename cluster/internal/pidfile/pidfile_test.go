package pidfile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "test.pid")
	remove, err := Write(path)
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, strconv.Itoa(os.Getpid())+"\n", string(content))

	again, err := Write(path)
	require.NoError(t, err, "it names this process")
	require.NoError(t, again())
	require.NoError(t, remove(), "it is gone")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestWriteOverALivingProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.pid")
	other := os.Getppid()
	require.NoError(t, os.WriteFile(path, []byte(strconv.Itoa(other)), 0o600))
	_, err := Write(path)
	require.ErrorIs(t, err, os.ErrExist)
	require.ErrorContains(t, err, strconv.Itoa(other))
	require.ErrorContains(t, err, path)
	assert.FileExists(t, path)

	remove, err := Write(path, other)
	require.NoError(t, err, "it hands over to us")
	require.NoError(t, remove())
	assert.NoFileExists(t, path)
}

func TestWriteOverAStaleFile(t *testing.T) {
	for name, content := range map[string]string{"gone": strconv.Itoa(deadPID(t)) + "\n", "empty": "", "blank": "\n"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		remove, err := Write(path)
		require.NoError(t, err, name)
		require.NoError(t, remove(), name)
	}
}

// deadPID returns the id of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	require.NoError(t, cmd.Run())
	return cmd.Process.Pid
}

func TestRemoveOfAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.pid")
	remove, err := Write(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strconv.Itoa(os.Getppid())), 0o600), "as a successor does")
	require.NoError(t, remove())
	assert.FileExists(t, path)
}

func TestWriteOverSomethingElse(t *testing.T) {
	for _, content := range []string{"root:x:0:0", "-1", "0", "99999999999999999999999999"} {
		path := filepath.Join(t.TempDir(), "important")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := Write(path)
		require.ErrorContains(t, err, path, content)
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, content, string(left))
	}
	_, err := Write(t.TempDir())
	require.Error(t, err, "a directory")
	_, err = Write(filepath.Join(t.TempDir(), "missing", "test.pid"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
