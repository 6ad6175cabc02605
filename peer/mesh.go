package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// handshakeTimeout is how long a dialer may take for its request, and a listener for its answer.
const handshakeTimeout = 5 * time.Second

// Options says how to join. Directory, Self.Cluster and OnStream are required.
type Options struct {
	// Directory is where the nodes meet. It stays the caller's, and must be open until Close has returned.
	Directory *Directory
	// Self is who this node is. Join sets PID, and Incarnation if that is 0.
	Self Info
	// Dial names the streams that this node opens to every peer of a higher id.
	Dial []string
	// OnStream is called for each stream, dialed or accepted, in a goroutine of its own, perhaps before Join has
	// returned. When it returns, the stream is closed. It has to return when Read and Write fail, since Close waits
	// for it.
	OnStream func(*Stream)
	// Accept, if set, decides about each stream that a peer dials: the text of its error reaches the dialer, who asks
	// again later. It may be called several times at once, and for longer than 10 s the dialer does not wait.
	Accept func(name string, from Info) error
	// Logger gets refusals and failures that go on. Nil discards them.
	Logger *slog.Logger

	versions         versions                                    // for tests
	handshakeTimeout time.Duration                               // for tests
	watch            func(*Directory) (*fsnotify.Watcher, error) // for tests
}

// Mesh is a node's part in the mesh. Its methods may be called at the same time.
type Mesh struct {
	opts   Options // clone, filled in
	self   Info
	dir    *Directory
	log    *slog.Logger
	public *publication
	server *http.Server

	handshakes *handshakes // of the connections that peers dial

	closing chan struct{} // closed by Close
	close   func() error
	running sync.WaitGroup

	mu    sync.Mutex
	ended bool                  // guarded by mu; nothing is added to what follows, nor to running, once it is set
	conns map[net.Conn]struct{} // guarded by mu; in a dialer's handshake or a stream
	links map[link]struct{}     // guarded by mu; each has a goroutine
}

// Join publishes this node in the directory, starts to dial the peers that are there, and goes on with those that come,
// until Close. ctx bounds Join only.
func Join(ctx context.Context, opts Options) (*Mesh, error) {
	mesh, err := join(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("peer: join: %w", err)
	}
	return mesh, nil
}

func join(ctx context.Context, opts Options) (*Mesh, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil { // what follows does not block
		return nil, err
	}
	m := newMesh(opts)
	public, err := m.dir.publish(m.self.node())
	if err != nil {
		return nil, fmt.Errorf("publish in %s: %w", m.dir.path, err)
	}
	m.public = public
	m.close = sync.OnceValue(m.shutdown)
	m.running.Go(m.serve) // ended by server.Close in shutdown, which waits
	if err := m.discover(); err != nil {
		return nil, errors.Join(fmt.Errorf("scan %s: %w", m.dir.path, err), m.close())
	}
	return m, nil
}

func (opts *Options) check() error {
	switch self := opts.Self; {
	case opts.Directory == nil:
		return errors.New("no directory")
	case opts.OnStream == nil:
		return errors.New("no OnStream")
	case self.ID < 0 || self.Slot < 0 || self.Generation < 0:
		return fmt.Errorf("id %d, slot %d, generation %d: none can be negative", self.ID, self.Slot, self.Generation)
	}
	for _, name := range opts.Dial {
		if err := checkStream(name); err != nil {
			return err
		}
	}
	return checkCluster(opts.Self.Cluster)
}

func newMesh(opts Options) *Mesh {
	opts.Dial = slices.Clone(opts.Dial)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.versions = cmp.Or(opts.versions, versions{oldestVersion, newestVersion})
	opts.handshakeTimeout = cmp.Or(opts.handshakeTimeout, handshakeTimeout)
	if opts.watch == nil {
		opts.watch = (*Directory).watch
	}
	opts.Self.PID = os.Getpid()
	if opts.Self.Incarnation == 0 {
		opts.Self.Incarnation = NewIncarnation()
	}
	m := &Mesh{
		opts:       opts,
		self:       opts.Self,
		dir:        opts.Directory,
		log:        opts.Logger.With("node", opts.Self.node().String()),
		handshakes: newHandshakes(),
		closing:    make(chan struct{}),
		conns:      make(map[net.Conn]struct{}),
		links:      make(map[link]struct{}),
	}
	m.server = m.newServer()
	return m
}

// Self returns who this node is.
func (m *Mesh) Self() Info { return m.self }

// Close takes this node out of the directory, closes all streams, and returns when all OnStream calls have returned
// and no goroutine of the mesh runs any more; so it must not be called by OnStream. It may be called again, and at the
// same time: all calls return together.
func (m *Mesh) Close() error {
	if err := m.close(); err != nil {
		return fmt.Errorf("peer: close: %w", err)
	}
	return nil
}

func (m *Mesh) shutdown() error {
	err := m.public.withdraw() // first, so that nobody dials any more
	m.end()
	err = errors.Join(err, m.server.Close())
	m.running.Wait()
	return err
}

func (m *Mesh) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	close(m.closing)
	for conn := range m.conns {
		_ = conn.Close() // whoever uses it sees the error
	}
}

// track makes Close close conn and wait for its release. It returns false, with conn closed, after Close.
func (m *Mesh) track(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		_ = conn.Close()
		return false
	}
	m.conns[conn] = struct{}{}
	m.running.Add(1)
	return true
}

// release closes a tracked conn.
func (m *Mesh) release(conn net.Conn) {
	_ = conn.Close() // OnStream may have done so
	m.mu.Lock()
	delete(m.conns, conn)
	m.mu.Unlock()
	m.running.Done()
}

// pause waits for d and reports whether the mesh is still open.
func (m *Mesh) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-m.closing:
		return false
	}
}
