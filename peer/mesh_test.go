package peer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

const limit = await.Limit // for an event that has to come

// openTemp opens a directory that does not exist yet, and closes it after the test.
func openTemp(t *testing.T) *rendezvous.Directory {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "web"))
}

func files(t *testing.T, d *rendezvous.Directory) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(d.Path())
	require.NoError(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// leaveSocket leaves a socket without a listener, as a killed process does.
func leaveSocket(t *testing.T, d *rendezvous.Directory, name string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(d.Path(), name), Net: "unix"})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
}

// publishSilent publishes a node that does not answer. It lives until leave is called, or the test ends.
func publishSilent(t *testing.T, d *rendezvous.Directory, n node) (leave func()) {
	t.Helper()
	p, err := d.Publish(n)
	require.NoError(t, err)
	require.NoError(t, p.Listener().Close())
	leave = sync.OnceFunc(func() { assert.NoError(t, p.Withdraw()) })
	t.Cleanup(leave)
	return leave
}

// joinTest joins a mesh of cluster "test" without waiting for its peers, wants streams "x" if onStream is given, and closes
// the mesh after the test.
func joinTest(t *testing.T, d *rendezvous.Directory, opts Options, onStream ...func(*Stream)) *Mesh {
	t.Helper()
	opts.inside.Directory = d
	if opts.Self.Cluster == "" {
		opts.Self.Cluster = "test"
	}
	if opts.Self.ID == 0 && opts.inside.NextID == nil {
		opts.inside.NextID = noGuests
	}
	m, err := start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	for _, f := range onStream {
		_, err = m.OnStream("x", nil, f)
		require.NoError(t, err)
	}
	return m
}

// noGuests is the NextID of a master that takes none.
func noGuests() int { return 0 }

// echo sends back what it reads.
func echo(s *Stream) {
	defer s.Close()
	_, _ = io.Copy(s, s)
}

// collect returns an OnStream that hands streams out and holds each until it ends.
func collect() (streams chan *Stream, onStream func(*Stream)) {
	streams = make(chan *Stream, 100)
	return streams, func(s *Stream) {
		defer s.Close()
		streams <- s
		_, _ = io.Copy(io.Discard, s)
	}
}

func receive[T any](t *testing.T, values <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-values:
	case <-time.After(limit):
		require.FailNow(t, "nothing came")
	}
	return value
}

// record holds the level and the fields of a log record. Its message is for people.
type record struct {
	Level                                      slog.Level
	Node, Peer, Stream, Reason, Error, Removed string
}

// testLog is a log whose records a test can wait for.
type testLog struct{ records chan record }

func newTestLog() testLog { return testLog{make(chan record, 1000)} }

func (l testLog) Write(line []byte) (int, error) {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return 0, err
	}
	select {
	case l.records <- r:
	default:
	}
	return len(line), nil
}

func (l testLog) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// waitFor returns the next record for which match is true.
func (l testLog) waitFor(t *testing.T, match func(record) bool) record {
	t.Helper()
	for {
		if r := receive(t, l.records); match(r) {
			return r
		}
	}
}

// waitForError returns the next record with an error of that text.
func (l testLog) waitForError(t *testing.T, text string) record {
	t.Helper()
	return l.waitFor(t, func(r record) bool { return strings.Contains(r.Error, text) })
}

// waitForFiles waits until the directory holds the files of m and nothing else.
func waitForFiles(t *testing.T, m *Mesh) {
	t.Helper()
	own := []string{m.self.node().LockName(), m.self.node().SocketName()}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		entries, err := os.ReadDir(m.dir.Path())
		assert.NoError(c, err)
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		assert.ElementsMatch(c, own, names)
	}, limit, 5*time.Millisecond)
}

func TestTwoNodes(t *testing.T) {
	d := openTemp(t)
	accepted, onAccepted := collect()
	high := joinTest(t, d, Options{Self: Info{ID: 7, Slot: 2, Generation: 1}}, onAccepted)
	dialed := make(chan *Stream, 1)
	low := joinTest(t, d, Options{Self: Info{ID: 3, Slot: 1}}, func(s *Stream) {
		_, err := s.Write([]byte("hello"))
		assert.NoError(t, err)
		assert.NoError(t, s.CloseWrite())
		dialed <- s
		_, _ = io.Copy(io.Discard, s)
	})
	assert.Equal(t, Info{"test", 3, 1, 0, low.Self().Incarnation, os.Getpid()}, low.Self())

	s := receive(t, dialed)
	assert.Equal(t, "x", s.name)
	assert.Equal(t, high.Self(), s.Peer())
	assert.Equal(t, filepath.Join(d.Path(), high.self.node().SocketName()), s.RemoteAddr().String())
	assert.Equal(t, filepath.Join(d.Path(), low.self.node().SocketName()), s.LocalAddr().String())
	s = receive(t, accepted)
	assert.Equal(t, "x", s.name)
	assert.Equal(t, low.Self(), s.Peer())
	assert.Equal(t, filepath.Join(d.Path(), low.self.node().SocketName()), s.RemoteAddr().String())
	assert.Equal(t, []Info{high.Self()}, low.Peers())
	assert.Equal(t, []Info{low.Self()}, high.Peers())
}

// Two nodes publish and scan in any order: when both have returned, each is a member for the other.
func TestTwoNodesAtOnce(t *testing.T) {
	for range 1000 {
		d := openTemp(t)
		meshes := make([]*Mesh, 3)
		var group sync.WaitGroup
		for id := 1; id <= 2; id++ {
			group.Go(func() {
				var err error
				meshes[id], err = Join(context.Background(), Options{Directory: d.Path(), Self: Info{Cluster: "test", ID: id}})
				assert.NoError(t, err)
			})
		}
		group.Wait()
		require.Equal(t, []Info{meshes[2].Self()}, meshes[1].Peers())
		require.Equal(t, []Info{meshes[1].Self()}, meshes[2].Peers())
		for _, m := range meshes[1:] {
			require.NoError(t, m.Close())
		}
		require.Empty(t, files(t, d))
	}
}

func TestManyNodesAtOnce(t *testing.T) {
	const count = 12
	d := openTemp(t)
	meshes := make([]*Mesh, count)
	var group sync.WaitGroup
	for id := range count {
		group.Go(func() {
			var err error
			opts := Options{Directory: d.Path(), Self: Info{Cluster: "test", ID: id}}
			if id == 0 {
				opts.inside.NextID = noGuests
			}
			meshes[id], err = Join(context.Background(), opts)
			assert.NoError(t, err)
		})
	}
	group.Wait()
	for _, m := range meshes {
		assert.Len(t, m.Peers(), count-1)
	}
	for _, m := range meshes {
		group.Go(func() { assert.NoError(t, m.Close()) })
	}
	group.Wait()
}

// inVain calls f with a context that ends before f does. The error has to say how far f has come, for which it gets more time when
// that was too short for a busy machine.
func inVain(t *testing.T, want string, f func(context.Context) error) {
	t.Helper()
	for timeout := 50 * time.Millisecond; ; timeout *= 4 {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		err := f(ctx)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		if strings.Contains(err.Error(), want) || timeout > limit {
			require.ErrorContains(t, err, want)
			return
		}
	}
}

func TestJoinWaitsForWhoHangs(t *testing.T) {
	d := openTemp(t)
	hung := node{ID: 5, Incarnation: rendezvous.NewIncarnation()}
	end := publishSilent(t, d, hung)
	inVain(t, "no link with node "+hung.String(), func(ctx context.Context) error {
		_, err := Join(ctx, Options{Directory: d.Path(), Self: Info{Cluster: "test", ID: 1}})
		return err
	})
	assert.ElementsMatch(t, []string{hung.LockName(), hung.SocketName()}, files(t, d))

	joined := make(chan error, 1)
	go func() { // ends when the hung one has
		m, err := Join(context.Background(), Options{Directory: d.Path(), Self: Info{Cluster: "test", ID: 9}})
		if err == nil {
			err = m.Close()
		}
		joined <- err
	}()
	end()
	assert.NoError(t, receive(t, joined))
}

func TestIDInUse(t *testing.T) {
	d := openTemp(t)
	first := joinTest(t, d, Options{Self: Info{ID: 3}})
	_, err := Join(t.Context(), Options{Directory: d.Path(), Self: Info{Cluster: "test", ID: 3}})
	require.ErrorContains(t, err, "id 3 is in use by the node whose files are")
	require.ErrorContains(t, err, first.self.node().String())
	assert.Len(t, files(t, d), 2)
}

func TestAnotherCluster(t *testing.T) {
	d := openTemp(t)
	dialer, listener := newTestLog(), newTestLog()
	high := joinTest(t, d, Options{Self: Info{ID: 1, Cluster: "shop"}, Logger: listener.logger()})
	low, err := Join(t.Context(), Options{Directory: d.Path(), Self: Info{Cluster: "test"}, inside: inside.Options{NextID: noGuests}, Logger: dialer.logger()})
	require.NoError(t, err, "who refuses is not waited for")
	defer low.Close()
	const reason = `cluster "test": this node belongs to cluster "shop"`
	assert.Equal(t, high.self.node().String(), dialer.waitForError(t, reason).Peer)
	listener.waitFor(t, func(r record) bool { return r.Stream == linkStream && r.Reason == reason })
	assert.Empty(t, low.Peers())
}

func TestJoinRefuses(t *testing.T) {
	d := openTemp(t)
	good := Options{Directory: d.Path(), Self: Info{Cluster: "test", ID: 1}}
	tests := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"not a directory", func(o *Options) { o.Directory = os.Args[0] }, "is not a directory"},
		{"negative id", func(o *Options) { o.Self.ID = -1 }, "id -1"},
		{"cluster", func(o *Options) { o.Self.Cluster = "" }, "cluster name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := good
			test.change(&opts)
			_, err := Join(t.Context(), opts)
			require.ErrorContains(t, err, "peer: join: ")
			require.ErrorContains(t, err, test.want)
			assert.Empty(t, files(t, d))
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Join(ctx, good)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestJoinClosedDirectory(t *testing.T) {
	d := openTemp(t)
	require.NoError(t, d.Close())
	_, err := Join(t.Context(), Options{inside: inside.Options{Directory: d}, Self: Info{Cluster: "test", ID: 1}})
	assert.ErrorIs(t, err, os.ErrClosed)
}

// The node that has made the directory removes it, after all nodes have left.
func TestJoinMakesItsDirectory(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", base)
	path := filepath.Join(base, "multinode", "test")
	join := func(id int, directory string) *Mesh {
		m, err := Join(t.Context(), Options{Directory: directory, Self: Info{Cluster: "test", ID: id}})
		require.NoError(t, err)
		return m
	}
	first, second := join(1, ""), join(2, path)
	assert.Equal(t, []Info{second.Self()}, first.Peers(), "it is the default")
	require.NoError(t, second.Close())
	assert.DirExists(t, path)
	require.NoError(t, first.Close())
	assert.NoDirExists(t, filepath.Dir(path))
	_, err := Join(t.Context(), Options{Self: Info{Cluster: "test"}})
	require.ErrorIs(t, err, ErrNoMaster)
	assert.NoDirExists(t, filepath.Dir(path))
}

func TestLongDirectory(t *testing.T) {
	d, err := rendezvous.Open(filepath.Join(t.TempDir(), strings.Repeat("x", 200), strings.Repeat("y", 200)))
	require.NoError(t, err)
	defer d.Close()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("no /proc here: the address of a socket is the limit")
	}
	streams, onStream := collect()
	low := joinTest(t, d, Options{Self: Info{ID: 0}}, echo)
	high := joinTest(t, d, Options{Self: Info{ID: 1}}, onStream)
	receive(t, streams)
	require.NoError(t, high.Close())
	require.NoError(t, low.Close())
}

func TestPollsWithoutEvents(t *testing.T) {
	d := openTemp(t)
	log := newTestLog()
	joinTest(t, d, Options{
		Self: Info{ID: 0}, Logger: log.logger(),
		watch: func(*rendezvous.Directory) (*fsnotify.Watcher, error) { return nil, errors.New("no instance left") },
	}, echo)
	log.waitForError(t, "no instance left")
	streams, onStream := collect()
	joinTest(t, d, Options{Self: Info{ID: 1}}, onStream)
	receive(t, streams)
}

func TestKilledPeerIsSweptByItsDialer(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	m := joinTest(t, d, Options{Self: Info{ID: 1}}, onStream)
	c := child.Start(t, childJob{Directory: d.Path(), Join: true, ID: 2})
	s := receive(t, streams)
	assert.Equal(t, 2, s.Peer().ID)
	assert.Equal(t, c.Pid, s.Peer().PID)
	c.End()
	waitForFiles(t, m)
}

func TestKilledDialerIsSweptByItsPeer(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	m := joinTest(t, d, Options{Self: Info{ID: 1}}, onStream)
	c := child.Start(t, childJob{Directory: d.Path(), Join: true, ID: 0})
	assert.Equal(t, c.Pid, receive(t, streams).Peer().PID)
	c.End()
	waitForFiles(t, m)
}

func TestJoinSweepsTheDeadAndLeavesTheRest(t *testing.T) {
	d := openTemp(t)
	c := child.Start(t, childJob{Directory: d.Path(), Join: true, ID: 0})
	c.End()
	require.Len(t, files(t, d), 3, "a killed master leaves its files, and the link to its socket")
	low, high := node{ID: 1, Incarnation: rendezvous.NewIncarnation()}, node{ID: 9, Incarnation: rendezvous.NewIncarnation()}
	leaveSocket(t, d, low.SocketName())
	leaveSocket(t, d, "foreign.sock")
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), high.SocketName()), nil, 0o600))
	joinTest(t, d, Options{Self: Info{ID: 2, Incarnation: 42}}, func(*Stream) {
		t.Error("nobody is there")
	})
	self := node{ID: 2, Incarnation: 42}
	assert.ElementsMatch(t, []string{self.LockName(), self.SocketName(), "foreign.sock", high.SocketName()}, files(t, d))
}

func TestCloseWithIdleConnections(t *testing.T) {
	d := openTemp(t)
	m := joinTest(t, d, Options{Self: Info{ID: 1}, handshakeTimeout: time.Hour})
	for range localhttp.MaxHandshakes + 5 {
		conn, err := d.Dial(m.self.node())
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	}
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }() // ended by Close, which receive waits for
	assert.NoError(t, receive(t, closed))
}

func TestCloseEndsStreams(t *testing.T) {
	d := openTemp(t)
	reads := make(chan error, 100)
	started := make(chan struct{}, 100)
	block := func(s *Stream) {
		started <- struct{}{}
		_, err := s.Read(make([]byte, 1))
		reads <- err
	}
	others, onOther := collect()
	joinTest(t, d, Options{Self: Info{ID: 0}}, onOther)
	m := joinTest(t, d, Options{Self: Info{ID: 1}}, block)
	joinTest(t, d, Options{Self: Info{ID: 2}}, onOther)
	for range 2 {
		receive(t, started)
	}
	for range 4 {
		receive(t, others) // two of them between the others
	}
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { assert.NoError(t, m.Close()) })
	}
	group.Wait()
	require.Len(t, reads, 2, "OnStream has returned when Close returns")
	for range 2 {
		assert.ErrorIs(t, <-reads, net.ErrClosed)
	}
}
