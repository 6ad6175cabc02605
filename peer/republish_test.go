package peer

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// openAt opens a directory, as another process does, and closes it after the test.
func openAt(t *testing.T, path string) *rendezvous.Directory {
	t.Helper()
	d, err := rendezvous.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

// removeAll removes a directory that others may make again meanwhile.
func removeAll(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool { return os.RemoveAll(path) == nil }, limit, time.Millisecond)
}

// waitIntact waits until all that a node has made is in place.
func waitIntact(t *testing.T, m *Mesh) {
	t.Helper()
	require.Eventually(t, func() bool { return m.dir.Damage()+m.presence.public.Damage() == "" }, limit, time.Millisecond)
}

// requireEcho shows that a stream is open, by what the other end sends back.
func requireEcho(t *testing.T, s *Stream) {
	t.Helper()
	require.NoError(t, s.SetDeadline(time.Now().Add(limit)))
	_, err := s.Write([]byte("hello"))
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = io.ReadFull(s, got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
}

// removal is a mesh whose files are removed: node 0 with a stream to node 1.
type removal struct {
	path   string
	low    *Mesh
	stream *Stream
	log    testLog // of node 0
	events chan Event
}

func newRemoval(t *testing.T, opts Options) *removal {
	t.Helper()
	r := &removal{path: filepath.Join(t.TempDir(), "base", "web"), log: newTestLog(), events: make(chan Event, 100)}
	streams := make(chan *Stream, 100)
	opts.Logger = r.log.logger()
	r.low = joinTest(t, openAt(t, r.path), opts, func(s *Stream) { streams <- s })
	joinTest(t, openAt(t, r.path), Options{Self: Info{ID: 1}}, echo)
	r.stream = receive(t, streams)
	r.low.OnEvent(func(e Event) { r.events <- e })
	assert.Equal(t, Joined, receive(t, r.events).Type)
	return r
}

// requireWhole shows that no node has left, and that a new node finds the first two.
func (r *removal) requireWhole(t *testing.T) {
	t.Helper()
	requireEcho(t, r.stream)
	streams, onStream := collect()
	joinTest(t, openAt(t, r.path), Options{Self: Info{ID: 2}}, onStream)
	assert.ElementsMatch(t, []int{0, 1}, []int{receive(t, streams).Peer().ID, receive(t, streams).Peer().ID})
	joined := receive(t, r.events)
	assert.Equal(t, Joined, joined.Type)
	assert.Equal(t, 2, joined.Peer.ID, "and nobody else before")
}

// waitMended waits until the log reports that node 0 has made again what was removed.
func (r *removal) waitMended(t *testing.T) record {
	t.Helper()
	return r.log.waitFor(t, func(l record) bool { return l.Removed != "" && l.Error == "" })
}

// waitNotMended waits until the log reports why it cannot.
func (r *removal) waitNotMended(t *testing.T, why string) {
	t.Helper()
	r.log.waitFor(t, func(l record) bool { return l.Removed != "" && strings.Contains(l.Error, why) })
}

func TestDirectoryRemovedWhileInUse(t *testing.T) {
	r := newRemoval(t, Options{})
	lock, err := r.low.dir.Lock(rendezvous.Owner{PID: 4711})
	require.NoError(t, err)
	removeAll(t, filepath.Dir(r.path))
	r.requireWhole(t)
	assert.Equal(t, record{Level: slog.LevelWarn, Node: r.low.self.node().String(), Removed: "the directory " + r.path}, r.waitMended(t))

	info, err := os.Stat(r.path)
	require.NoError(t, err)
	assert.Equal(t, os.ModeDir|0o700, info.Mode())
	other := openAt(t, r.path)
	locked, err := other.Locked()
	require.NoError(t, err)
	assert.True(t, locked, "the lock of the cluster was taken again")
	_, err = other.Lock(rendezvous.Owner{})
	require.ErrorContains(t, err, "process 4711 holds it")
	require.NoError(t, lock.Release())
	assert.NoFileExists(t, filepath.Join(r.path, "master.lock"))
}

// All nodes notice it at the same time, and make the same directory.
func TestDirectoryRemovedUnderManyNodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "base", "web")
	const nodes = 5
	for id := range nodes {
		joinTest(t, openAt(t, path), Options{Self: Info{ID: id}}, echo)
	}
	child.Start(t, childJob{Directory: path, Join: true, ID: nodes})
	for range 3 {
		removeAll(t, filepath.Dir(path))
		streams, onStream := collect()
		d := openAt(t, path)
		m := joinTest(t, d, Options{Self: Info{ID: nodes + 1}}, onStream)
		found := make(map[int]bool)
		for len(found) <= nodes {
			found[receive(t, streams).Peer().ID] = true
		}
		require.NoError(t, m.Close())
	}
	d := openAt(t, path)
	alive, err := d.Alive()
	require.NoError(t, err)
	assert.Equal(t, nodes+1, alive)
}

func TestFilesRemovedWhileInUse(t *testing.T) {
	noEvents := func(*rendezvous.Directory) (*fsnotify.Watcher, error) { return nil, errors.New("no instance left") }
	tests := []struct {
		name  string
		names func(node) []string
		opts  Options
	}{
		{"socket", func(n node) []string { return []string{n.SocketName()} }, Options{}},
		{"lock", func(n node) []string { return []string{n.LockName()} }, Options{}},
		{"both", func(n node) []string { return []string{n.SocketName(), n.LockName()} }, Options{}},
		{"both, without events", func(n node) []string { return []string{n.LockName(), n.SocketName()} }, Options{watch: noEvents}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRemoval(t, test.opts)
			for _, name := range test.names(r.low.self.node()) {
				require.NoError(t, os.Remove(filepath.Join(r.path, name)))
			}
			r.waitMended(t)
			waitIntact(t, r.low)
			r.requireWhole(t)
		})
	}
}

func TestLockOfTheClusterRemovedWhileInUse(t *testing.T) {
	r := newRemoval(t, Options{})
	lock, err := r.low.dir.Lock(rendezvous.Owner{PID: 4711})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(r.path, "master.lock")))
	r.waitMended(t)
	other := openAt(t, r.path)
	_, err = other.Lock(rendezvous.Owner{})
	require.ErrorContains(t, err, "process 4711 holds it")
	require.NoError(t, lock.Release())
}

// A process that takes the lock of a cluster while its file is missing is a second master: that can only be reported.
func TestLockOfTheClusterLost(t *testing.T) {
	r := newRemoval(t, Options{})
	lock, err := r.low.dir.Lock(rendezvous.Owner{PID: 4711})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(r.path, "master.lock")))
	second, err := openAt(t, r.path).Lock(rendezvous.Owner{PID: 4712})
	require.NoError(t, err)
	r.waitNotMended(t, "the lock of the cluster is lost")
	require.NoError(t, lock.Release())
	assert.FileExists(t, filepath.Join(r.path, "master.lock"), "it is the other one's")
	require.NoError(t, second.Release())
}

// A node that has lost its lock file only, and that another one takes for dead and sweeps, comes back.
func TestSweptWithoutLockFile(t *testing.T) {
	r := newRemoval(t, Options{})
	n := r.low.self.node()
	require.NoError(t, os.Remove(filepath.Join(r.path, n.LockName())))
	gone, err := openAt(t, r.path).Sweep(n)
	require.NoError(t, err)
	assert.True(t, gone)
	r.waitMended(t)
	r.requireWhole(t)
}

func TestDirectoryReplacedByAForeignOne(t *testing.T) {
	r := newRemoval(t, Options{})
	require.Eventually(t, func() bool { // the nodes may be faster
		return os.RemoveAll(r.path) == nil && os.Mkdir(r.path, 0o755) == nil
	}, limit, time.Millisecond)
	r.waitNotMended(t, "its mode 0755 lets others in")
	requireEcho(t, r.stream)
	entries, err := os.ReadDir(r.path)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing is put into it")
	require.NoError(t, os.Chmod(r.path, 0o700))
	r.waitMended(t)
	r.requireWhole(t)
}

func TestSocketReplacedByAPlainFile(t *testing.T) {
	r := newRemoval(t, Options{})
	path := filepath.Join(r.path, r.low.self.node().SocketName())
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	r.waitNotMended(t, "is not a socket")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content), "it is left alone")
	require.NoError(t, os.Remove(path))
	r.waitMended(t)
	r.requireWhole(t)
}

func TestCloseWithoutDirectory(t *testing.T) {
	r := newRemoval(t, Options{})
	lock, err := r.low.dir.Lock(rendezvous.Owner{})
	require.NoError(t, err)
	removeAll(t, filepath.Dir(r.path))
	require.NoError(t, r.low.Close())
	require.NoError(t, lock.Release())
	require.NoError(t, r.low.dir.Remove())
}

// A directory that was removed before a node has joined.
func TestJoinRemovedDirectory(t *testing.T) {
	d := openTemp(t)
	removeAll(t, d.Path())
	joinTest(t, d, Options{Self: Info{ID: 1}})
	assert.Len(t, files(t, d), 2)
}
