package peer

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// A file with the name of a node's socket that is no socket is neither dialed nor removed, whether its lock is held or not.
func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string)
	}{
		{"plain file", func(t *testing.T, path string) {
			t.Helper()
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}},
		{"directory", func(t *testing.T, path string) {
			t.Helper()
			require.NoError(t, os.Mkdir(path, 0o700))
		}},
		{"pipe", func(t *testing.T, path string) {
			t.Helper()
			if err := exec.CommandContext(t.Context(), "mkfifo", path).Run(); errors.Is(err, exec.ErrNotFound) {
				t.Skip("cannot make a pipe: install mkfifo")
			} else {
				require.NoError(t, err)
			}
		}},
		{"link to a socket", func(t *testing.T, path string) {
			t.Helper()
			target := filepath.Join(t.TempDir(), "socket")
			listener, err := net.Listen("unix", target)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, listener.Close()) })
			require.NoError(t, os.Symlink(target, path))
		}},
	}
	for _, test := range tests {
		for _, held := range []bool{true, false} {
			t.Run(test.name+", lock held "+strconv.FormatBool(held), func(t *testing.T) {
				d := openTemp(t)
				n := node{ID: 5, Incarnation: rendezvous.NewIncarnation()}
				if held {
					publishSilent(t, d, n)
					require.NoError(t, os.Remove(filepath.Join(d.Path(), n.SocketName())))
				}
				path := filepath.Join(d.Path(), n.SocketName())
				test.make(t, path)
				m := joinTest(t, d, Options{Self: Info{ID: 1}})
				require.NoError(t, m.census.awaitAll(t.Context()), "nobody is there")
				streams, onStream := collect()
				_, err := m.OnStream("x", nil, onStream)
				require.NoError(t, err)
				joinTest(t, d, Options{Self: Info{ID: 9}}, echo)
				assert.Equal(t, 9, receive(t, streams).Peer().ID)
				m.mu.Lock()
				defer m.mu.Unlock()
				assert.Nil(t, m.census.keepers.dialed[n])
				_, err = os.Lstat(path)
				assert.NoError(t, err)
			})
		}
	}
}

// The kernel drops events when its queue is full, and says so. The scan that follows finds what they would have told.
func TestEventsLostInAnOverflow(t *testing.T) {
	d := openTemp(t)
	var watcher *fsnotify.Watcher
	deaf := func(*rendezvous.Directory) (_ *fsnotify.Watcher, err error) {
		watcher, err = fsnotify.NewWatcher() // of nothing
		return watcher, err
	}
	streams, onStream := collect()
	begin := time.Now()
	joinTest(t, d, Options{Self: Info{ID: 0}, watch: deaf}, onStream)
	joinTest(t, d, Options{Self: Info{ID: 1}}, echo)
	assert.Empty(t, streams)
	select {
	case watcher.Errors <- fsnotify.ErrEventOverflow:
	case <-time.After(limit):
		require.FailNow(t, "nobody reads the errors of the watcher")
	}
	receive(t, streams)
	assert.Less(t, time.Since(begin), sweepInterval, "it was not the sweep that found it")
}

// A process that a node starts gets none of the node's descriptors: it would keep lock, links and listener alive after
// the node's death.
func TestDescriptorsAreNotInherited(t *testing.T) {
	before := inherited(t)
	d := openTemp(t)
	lock, err := d.Lock(rendezvous.Owner{})
	require.NoError(t, err)
	streams, onStream := collect()
	m := joinTest(t, d, Options{Self: Info{ID: 0}}, onStream)
	joinTest(t, d, Options{Self: Info{ID: 1}}, onStream)
	receive(t, streams)
	receive(t, streams)
	dialIdle(t, d, m.self.node())
	require.NoError(t, os.Remove(filepath.Join(d.Path(), m.self.node().SocketName())))
	require.NoError(t, os.Remove(filepath.Join(d.Path(), m.self.node().LockName())))
	require.NoError(t, m.presence.republish(), "what is made later is not inherited either")
	assert.Equal(t, before, inherited(t))
	require.NoError(t, lock.Release())
}

// inherited returns the descriptors of a process that this one starts, by number.
func inherited(t *testing.T) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "cat")
	stdin, err := command.StdinPipe()
	require.NoError(t, err)
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	if err := command.Start(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("cannot start a process: install cat")
	} else {
		require.NoError(t, err)
	}
	defer func() {
		assert.NoError(t, stdin.Close())
		assert.NoError(t, command.Wait())
	}()
	_, err = stdin.Write([]byte("x"))
	require.NoError(t, err)
	_, err = stdout.Read(make([]byte, 1)) // so it is cat by now, and not the fork of this process
	require.NoError(t, err)
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(command.Process.Pid) + "/fd")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc here: the descriptors of another process cannot be read")
	}
	require.NoError(t, err)
	var numbers []string
	for _, entry := range entries {
		numbers = append(numbers, entry.Name())
	}
	return numbers
}
