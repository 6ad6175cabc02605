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
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"

	"github.com/fsnotify/fsnotify"

	"github.com/multinode-go/multinode/internal/farewell"
)

// handshakeTimeout is how long a dialer may take for its request, and a listener for its answer.
const handshakeTimeout = 5 * time.Second

// Options says how to join. Directory and Self.Cluster are required.
type Options struct {
	// Directory is where the nodes meet. It stays the caller's, and must be open until Close has returned.
	Directory *Directory
	// Self is who this node is. Join sets PID, and Incarnation if that is 0.
	//
	// A process that nobody has started for the cluster joins as a guest: with ID, Slot and Generation 0, and without
	// NextID. It gets its id from the master, and for one that starts it waits.
	Self Info
	// NextID is for the master: it returns the id of a guest, from 1 on and never given before, or 0 to take none. It may
	// be called several times at once. A master can be found by all as master.sock in the directory.
	NextID func() int
	// Unshown is for a master that is to replace another: master.sock leads to that one until ShowMaster.
	Unshown bool
	// AllowAbsent makes Join return without those nodes that live and do not answer, when ctx is done: see [Mesh.Absent].
	AllowAbsent bool
	// Logger gets refusals and failures that go on. Nil discards them.
	Logger *slog.Logger

	versions         versions                                    // for tests
	handshakeTimeout time.Duration                               // for tests
	watch            func(*Directory) (*fsnotify.Watcher, error) // for tests
}

// Mesh is a node's part in the mesh. Its methods may be called at the same time.
type Mesh struct {
	opts    Options // clone, filled in
	self    Info
	dir     *Directory // nil: no other node can be there
	log     *slog.Logger
	public  *rendezvous.Publication
	server  *http.Server
	mux     *http.ServeMux
	shakes  *handshakes   // of the connections that peers dial
	answers chan struct{} // one for each request to a handler of Handle that is being answered

	closing   chan struct{} // closed by Close
	close     func() error
	running   sync.WaitGroup
	farewells farewell.List // of OnClose

	mu        sync.Mutex
	ended     bool                 // guarded by mu; nothing is added to what follows, nor to running, once it is set
	conns     map[net.Conn]node    // guarded by mu; in a dialer's handshake, a link or a stream, and to whom
	dialed    map[node]*keeper     // guarded by mu; each has a goroutine
	links     map[*session]none    // guarded by mu; those that run, be the peer a member or not yet
	sessions  map[node]*session    // guarded by mu; the members
	offers    map[string]*offer    // guarded by mu; by name of the stream
	listeners map[string]*Listener // guarded by mu; by name of the stream
	offered   int                  // guarded by mu; offers that there ever were
	watchers  map[*watcher]none    // guarded by mu
	changed   chan struct{}        // guarded by mu; closed when one of sessions or dialed has changed
}

type none = struct{}

// Join publishes this node in the directory and links it to every node that lives there, and to those that come, until
// Close. It returns when it is a member for each node that it has found, and each of them is one for it. A node that
// refuses is not waited for, one that hangs is: ctx bounds Join only, and its error then names who did not answer.
//
// Two nodes that join at the same time find each other: the mesh is complete when both have returned.
func Join(ctx context.Context, opts Options) (*Mesh, error) {
	m, err := start(ctx, opts)
	if err == nil {
		if err = m.awaitAll(ctx); err == nil || m.passOver(ctx, err) {
			return m, nil
		}
		err = errors.Join(err, m.close())
	}
	return nil, fmt.Errorf("peer: join: %w", err)
}

// Solo returns a mesh of one node, which nobody can join, for where there is no rendezvous directory.
func Solo(self Info) *Mesh {
	opts := Options{Self: self}
	opts.fill()
	m := newMesh(opts)
	m.close = sync.OnceValue(m.shutdown)
	return m
}

// start is Join without the wait.
func start(ctx context.Context, opts Options) (*Mesh, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil { // what follows does not block, but for a guest
		return nil, err
	}
	opts.fill()
	if opts.isGuest() {
		id, err := askMaster(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("ask the master in %s for an id: %w", opts.Directory.Path(), err)
		}
		opts.Self.ID = id
	}
	m := newMesh(opts)
	m.server = m.newServer()
	public, err := m.publish()
	if err != nil {
		return nil, fmt.Errorf("publish in %s: %w", m.dir.Path(), err)
	}
	m.public = public
	m.close = sync.OnceValue(m.shutdown)
	listener := public.Listener()
	m.running.Go(func() { m.serve(listener) }) // ended by server.Close in shutdown, which waits
	if err := m.discover(); err != nil {
		return nil, errors.Join(fmt.Errorf("scan %s: %w", m.dir.Path(), err), m.close())
	}
	return m, nil
}

func (opts *Options) check() error {
	switch self := opts.Self; {
	case opts.Directory == nil:
		return errors.New("no directory")
	case self.ID < 0 || self.Slot < 0 || self.Generation < 0:
		return fmt.Errorf("id %d, slot %d, generation %d: none can be negative", self.ID, self.Slot, self.Generation)
	case opts.isGuest() && (self.Slot != 0 || self.Generation != 0):
		return fmt.Errorf("slot %d, generation %d: a guest, which has no id yet, has neither; a master has NextID",
			self.Slot, self.Generation)
	}
	return rendezvous.CheckCluster(opts.Self.Cluster)
}

// fill puts defaults in place of what is not set.
func (opts *Options) fill() {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.versions = cmp.Or(opts.versions, versions{oldestVersion, newestVersion})
	opts.handshakeTimeout = cmp.Or(opts.handshakeTimeout, handshakeTimeout)
	if opts.watch == nil {
		opts.watch = (*Directory).Watch
	}
	opts.Self.PID = os.Getpid()
	if opts.Self.Incarnation == 0 {
		opts.Self.Incarnation = NewIncarnation()
	}
}

func newMesh(opts Options) *Mesh {
	m := &Mesh{
		opts:      opts,
		self:      opts.Self,
		dir:       opts.Directory,
		log:       opts.Logger.With("node", opts.Self.node().String()),
		mux:       http.NewServeMux(),
		shakes:    newHandshakes(),
		answers:   make(chan struct{}, maxAnswers),
		closing:   make(chan struct{}),
		conns:     make(map[net.Conn]node),
		dialed:    make(map[node]*keeper),
		links:     make(map[*session]none),
		sessions:  make(map[node]*session),
		offers:    make(map[string]*offer),
		listeners: make(map[string]*Listener),
		watchers:  make(map[*watcher]none),
		changed:   make(chan struct{}),
	}
	m.mux.HandleFunc("GET "+streamsPath+"/{name}", m.handleStream)
	m.mux.HandleFunc("POST "+guestsPath, m.handleGuest)
	return m
}

// Self returns who this node is.
func (m *Mesh) Self() Info { return m.self }

// Directory returns the rendezvous directory, nil for a mesh of one.
func (m *Mesh) Directory() *Directory { return m.dir }

// Logger returns the logger of Options, for what belongs to the mesh and has no other. It is not nil.
func (m *Mesh) Logger() *slog.Logger { return m.opts.Logger }

// Close takes this node out of the directory, tells its peers that it leaves, closes all streams, and returns when all
// OnStream and OnEvent calls and all handlers of Handle have returned and no goroutine of the mesh runs any more; so
// they must not call it. A peer that does not answer is waited for one second. Close may be called again, and at the same
// time: all calls return together.
func (m *Mesh) Close() error {
	if err := m.close(); err != nil {
		return fmt.Errorf("peer: close: %w", err)
	}
	return nil
}

func (m *Mesh) shutdown() (err error) {
	m.farewells.Call()
	if m.public != nil {
		err = m.public.Withdraw() // first, so that nobody dials any more
	}
	m.leave()
	m.mu.Lock()
	for conn := range m.conns {
		_ = conn.Close() // whoever uses it sees the error
	}
	m.mu.Unlock()
	if m.server != nil {
		err = errors.Join(err, m.server.Close())
	}
	m.running.Wait()
	return err
}

// leave says goodbye on all links, at the same time.
func (m *Mesh) leave() {
	m.mu.Lock()
	m.ended = true
	close(m.closing)
	var goodbyes sync.WaitGroup
	for s := range m.links {
		goodbyes.Go(s.sayGoodbye)
	}
	m.mu.Unlock()
	goodbyes.Wait()
}

// track makes Close close conn, unless it is released before. It returns false, with conn closed, after Close.
func (m *Mesh) track(conn net.Conn, to node) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		_ = conn.Close()
		return false
	}
	m.conns[conn] = to
	return true
}

// release forgets a tracked conn and closes it.
func (m *Mesh) release(conn net.Conn) error {
	m.mu.Lock()
	delete(m.conns, conn)
	m.mu.Unlock()
	return conn.Close()
}

// use makes Close wait until running is done. It returns false after Close.
func (m *Mesh) use() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.running.Add(1)
	}
	return !m.ended
}

// run runs f, which ends when the conns are closed or closing is. Close waits for it. It returns false after Close.
func (m *Mesh) run(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return false
	}
	m.running.Go(f)
	return true
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
