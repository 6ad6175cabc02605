package rendezvous

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openTemp opens a directory that does not exist yet, and closes it after the test.
func openTemp(t *testing.T) *Directory {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "web"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func TestOpenMakesItForUsOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "base", "web")
	d, err := Open(path)
	require.NoError(t, err)
	defer d.Close()
	assert.Equal(t, path, d.Path())
	for _, made := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(made)
		require.NoError(t, err)
		assert.Equal(t, fs.ModeDir|0o700, info.Mode(), made)
	}
}

func TestOpenRefuses(t *testing.T) {
	at := func(t *testing.T, name string) string { t.Helper(); return filepath.Join(t.TempDir(), name) }
	tests := []struct {
		name string
		make func(t *testing.T) (path string)
		want []string
	}{
		{"symlink", func(t *testing.T) string {
			t.Helper()
			path := at(t, "link")
			require.NoError(t, os.Symlink(t.TempDir(), path))
			return path
		}, []string{"is a symbolic link"}},
		{"dangling symlink", func(t *testing.T) string {
			t.Helper()
			path := at(t, "link")
			require.NoError(t, os.Symlink("nowhere", path))
			return path
		}, []string{"is a symbolic link"}},
		{"plain file", func(t *testing.T) string {
			t.Helper()
			path := at(t, "file")
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			return path
		}, []string{"is not a directory"}},
		{"mode", func(t *testing.T) string {
			t.Helper()
			path := at(t, "open")
			require.NoError(t, os.Mkdir(path, 0o750))
			return path
		}, []string{"mode 0750 lets others in", "chmod 0700 "}},
		{"owner", func(t *testing.T) string {
			t.Helper()
			if os.Geteuid() != 0 {
				return "/usr"
			}
			path := at(t, "theirs")
			require.NoError(t, os.Mkdir(path, 0o700))
			require.NoError(t, os.Chown(path, 65534, -1))
			return path
		}, []string{"belongs to uid", "chown "}},
		{"long element", func(t *testing.T) string {
			t.Helper()
			return at(t, strings.Repeat("x", 256))
		}, []string{"256 bytes", "255", "choose a shorter one"}},
		{"long path", func(t *testing.T) string {
			t.Helper()
			return at(t, strings.Repeat(strings.Repeat("x", 100)+"/", 50))
		}, []string{"the path has 5", "nearer to the root"}},
		{"parent is a file", func(t *testing.T) string {
			t.Helper()
			path := at(t, "file")
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			return filepath.Join(path, "web")
		}, []string{"not a directory"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := test.make(t)
			_, err := Open(path)
			require.ErrorContains(t, err, "open directory "+path)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "rm ", "it may be somebody's only copy")
		})
	}
}

// A path that is too long fails only at its end: the directories that were made before are removed again.
func TestOpenFailedLeavesNothing(t *testing.T) {
	base := t.TempDir()
	_, err := Open(filepath.Join(base, "a", "b", strings.Repeat("x", 256)))
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	entries, err := os.ReadDir(base)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestDirectoryRemove(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "multinode", "web")
	first, err := Open(path)
	require.NoError(t, err)

	second, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, second.Remove(), "what another one made is left alone")
	require.DirExists(t, path)

	require.NoError(t, first.Remove())
	require.NoError(t, first.Close(), "Close after Remove")
	assert.NoDirExists(t, filepath.Join(base, "multinode"))
	assert.DirExists(t, base)
}

func TestDirectoryRemoveLeavesWhatIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	first, err := Open(path)
	require.NoError(t, err)
	second, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, first.Remove())
	_, err = second.Lock(Owner{})
	require.NoError(t, err, "the directory that is open is not pulled away")
	require.NoError(t, second.Close())
}

func TestDirectoryRemoveLeavesWhatIsNotEmpty(t *testing.T) {
	d := openTemp(t)
	file := filepath.Join(d.Path(), "notes.txt")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, d.Remove())
	assert.FileExists(t, file)
}

func TestDirectoryAlive(t *testing.T) {
	d := openTemp(t)
	alive, err := d.Alive()
	require.NoError(t, err)
	assert.Zero(t, alive)
	child.Start(t, childJob{Directory: d.Path(), Publish: &Node{7, NewIncarnation()}})
	c := child.Start(t, childJob{Directory: d.Path(), Publish: &Node{8, NewIncarnation()}})
	alive, err = d.Alive()
	require.NoError(t, err)
	assert.Equal(t, 2, alive)
	c.End()
	require.EventuallyWithT(t, func(c *assert.CollectT) { // it may be some time until the kernel has freed its lock
		alive, err := d.Alive()
		require.NoError(c, err)
		assert.Equal(c, 1, alive)
	}, limit, time.Millisecond)
}

func TestDirectoryRemoveSweepsTheDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	d, err := Open(path)
	require.NoError(t, err)
	c := child.Start(t, childJob{Directory: path, Publish: &Node{7, NewIncarnation()}})
	c.End()
	left, err := filepath.Glob(filepath.Join(path, "7-*"))
	require.NoError(t, err)
	require.Len(t, left, 2, "a lock file and a socket")
	require.NoError(t, d.Remove())
	assert.NoDirExists(t, path)
}

// Masters that start and stop at the same time, in the same directory.
func TestDirectoryOpenLockRemoveAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "base", "web")
	var group sync.WaitGroup
	errs := make(chan error, 4*50)
	for range 4 {
		group.Go(func() {
			for range 50 {
				d, err := Open(path)
				if err != nil {
					errs <- err
					return
				}
				lock, err := d.Lock(Owner{})
				if err == nil {
					err = lock.Release()
				} else if _, locked := errors.AsType[*LockedError](err); locked {
					err = nil
				}
				errs <- errors.Join(err, d.Remove())
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		assert.NoError(t, err)
	}
}

func TestDefaultPath(t *testing.T) {
	runtimeDir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", runtimeDir)
	path, err := DefaultPath("web")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(runtimeDir, "multinode", "web"), path)

	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, unusable := range []string{"", "relative", filepath.Join(runtimeDir, "absent")} {
		t.Setenv("XDG_RUNTIME_DIR", unusable)
		path, err = DefaultPath("web")
		require.NoError(t, err)
		assert.Equal(t, temp, filepath.Dir(filepath.Dir(path)), "XDG_RUNTIME_DIR=%q", unusable)
		assert.Regexp(t, `/multinode-\d+/web$`, path)
	}
	base := filepath.Dir(path)
	require.NoError(t, os.Symlink(runtimeDir, base))
	_, err = DefaultPath("web")
	require.ErrorContains(t, err, base+": it is a symbolic link")
	require.NoError(t, os.Remove(base))
	require.NoError(t, os.Mkdir(base, 0o755))
	_, err = DefaultPath("web")
	require.ErrorContains(t, err, "lets others in")
	require.NoError(t, os.Remove(base))
	for _, bad := range []string{"", ".", "..", ".web", "a/b", "a b", "a\x00", strings.Repeat("x", 65)} {
		_, err := DefaultPath(bad)
		assert.ErrorContains(t, err, "want 1 to 64 letters, digits, dots", bad)
	}
}

// Without /proc a path has to fit into the address of a socket.
func TestSocketPathTooLong(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), strings.Repeat("x", 100)))
	require.NoError(t, err)
	defer d.Close()
	d.folder.viaProc = false
	_, err = d.Publish(Node{1, NewIncarnation()})
	require.ErrorContains(t, err, d.Path())
	require.ErrorContains(t, err, "choose a shorter directory")
	entries, err := os.ReadDir(d.Path())
	require.NoError(t, err)
	assert.Empty(t, entries, "it leaves nothing")
}
