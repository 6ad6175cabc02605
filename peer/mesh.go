package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/multinode-go/multinode/internal/closehooks"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

// handshakeTimeout is how long a dialer may take for its request, and a listener for its answer.
const handshakeTimeout = 5 * time.Second

// Options says how to join. Self.Cluster is required.
type Options struct {
	// Directory is the path of the rendezvous directory, where the nodes meet. Join makes it and its parents, with mode
	// 0700, if absent, and Close removes again what Join has made, unless another node is there. It must be ours, and
	// nobody else may have any right to it. Default: multinode/CLUSTER in $XDG_RUNTIME_DIR when that names a directory of
	// ours by an absolute path, else multinode-UID/CLUSTER in the directory for temporary files.
	Directory string
	// Self is who this node is. Join sets PID, and Incarnation if that is 0.
	//
	// A process that nobody has started for the cluster joins as a guest: with ID, Slot and Generation 0. It gets its id
	// from the master, and for one that starts it waits.
	Self Info
	// Logger gets refusals and failures that go on. Nil discards them.
	Logger *slog.Logger

	inside           inside.Options
	versions         versions                                               // for tests
	handshakeTimeout time.Duration                                          // for tests
	watch            func(*rendezvous.Directory) (*fsnotify.Watcher, error) // for tests
}

// Mesh is a node's part in the mesh. Its methods may be called at the same time.
type Mesh struct {
	*core
	members    *members
	streams    *streams
	handlers   *handlers
	census     census
	server     *localhttp.Server // nil in a mesh of one
	presence   *presence         // nil in a mesh of one
	close      func() error
	leave      func() error    // the directory, if Join has opened it; else nil
	closeHooks closehooks.List // of OnClose
}

// Join publishes this node in the directory and links it to every node that lives there, and to those that come, until
// Close. It returns when it is a member for each node that it has found, and each of them is one for it. A node that
// refuses is not waited for, one that hangs is: ctx bounds Join only, and its error then names who did not answer.
//
// Two nodes that join at the same time find each other: the mesh is complete when both have returned.
func Join(ctx context.Context, opts Options) (*Mesh, error) {
	m, err := start(ctx, opts)
	if err == nil {
		if err = m.census.awaitAll(ctx); err == nil || m.census.passOver(ctx, err) {
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
	return newMesh(opts)
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
	if opts.inside.Directory != nil {
		return enter(ctx, opts)
	}
	if err := opts.open(); err != nil {
		return nil, err
	}
	m, err := enter(ctx, opts)
	if err != nil {
		return nil, errors.Join(err, opts.inside.Directory.Remove())
	}
	m.leave = opts.inside.Directory.Remove
	return m, nil
}

// enter is start in a directory that is open.
func enter(ctx context.Context, opts Options) (*Mesh, error) {
	if opts.isGuest() {
		id, err := askMaster(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("ask the master in %s for an id: %w", opts.inside.Directory.Path(), err)
		}
		opts.Self.ID = id
	}
	m := newMesh(opts)
	m.server = localhttp.NewServer(localhttp.Config{
		Handler: m.handlers.mux, Timeout: opts.handshakeTimeout, MaxHeader: maxHeader, Closing: m.closing, Log: m.log,
	})
	m.presence = &presence{core: m.core, keepers: m.census.keepers, server: m.server}
	if err := m.presence.publish(); err != nil {
		return nil, fmt.Errorf("publish in %s: %w", m.dir.Path(), err)
	}
	if err := m.presence.discover(); err != nil {
		return nil, errors.Join(fmt.Errorf("scan %s: %w", m.dir.Path(), err), m.close())
	}
	return m, nil
}

func (opts *Options) check() error {
	switch self := opts.Self; {
	case self.ID < 0 || self.Slot < 0 || self.Generation < 0:
		return fmt.Errorf("id %d, slot %d, generation %d: none can be negative", self.ID, self.Slot, self.Generation)
	case opts.isGuest() && (self.Slot != 0 || self.Generation != 0):
		return fmt.Errorf("slot %d, generation %d: a guest, which has no id yet, has neither", self.Slot, self.Generation)
	}
	return rendezvous.CheckCluster(opts.Self.Cluster)
}

// open opens the directory of the options.
func (opts *Options) open() (err error) {
	path := opts.Directory
	if path == "" {
		if path, err = rendezvous.DefaultPath(opts.Self.Cluster); err != nil {
			return err
		}
	}
	opts.inside.Directory, err = rendezvous.Open(path)
	return err
}

// fill puts defaults in place of what is not set.
func (opts *Options) fill() {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.versions = cmp.Or(opts.versions, versions{oldestVersion, newestVersion})
	opts.handshakeTimeout = cmp.Or(opts.handshakeTimeout, handshakeTimeout)
	if opts.watch == nil {
		opts.watch = (*rendezvous.Directory).Watch
	}
	opts.Self.PID = os.Getpid()
	if opts.Self.Incarnation == 0 {
		opts.Self.Incarnation = rendezvous.NewIncarnation()
	}
}

func newMesh(opts Options) *Mesh {
	c := newCore(opts)
	all := &members{
		core: c, links: make(map[*session]none), sessions: make(map[node]*session), watchers: make(map[*watcher]none),
	}
	names := &streams{
		core: c, dialer: dialer{c}, members: all, offers: make(map[string]*offer), listeners: make(map[string]*Listener),
	}
	all.wants, all.renewed = names.wants, names.openStreams
	m := &Mesh{
		core: c, members: all, streams: names, handlers: newHandlers(c),
		census: census{c, &keepers{c, dialer{c}, all, make(map[node]*keeper)}, all},
	}
	asked := &admissions{c, all, names}
	m.handlers.mux.HandleFunc("GET "+streamsPath+"/{name}", asked.handleStream)
	m.handlers.mux.HandleFunc("POST "+guestsPath, guests{c}.handle)
	m.close = sync.OnceValue(m.shutdown)
	return m
}

// Self returns who this node is.
func (m *Mesh) Self() Info { return m.self }

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
	m.closeHooks.Call()
	if m.presence != nil {
		err = m.presence.public.Withdraw() // first, so that nobody dials any more
	}
	m.members.leave()
	m.closeConns()
	if m.server != nil {
		err = errors.Join(err, m.server.Close())
	}
	m.running.Wait()
	if m.leave != nil {
		err = errors.Join(err, m.leave())
	}
	return err
}

// Peers returns the members, this node not among them, by id.
func (m *Mesh) Peers() []Info { return m.members.peers() }

// OnEvent calls f with a Joined for each member, and then with each event, one after the other, in the order in which
// they happen, until remove is called or the mesh is closed. What is on the way at that time is not delivered. f may
// take its time: it keeps nobody but its own next event.
func (m *Mesh) OnEvent(f func(Event)) (remove func()) { return m.members.onEvent(f) }

// OnStream links this node by a stream of that name with each peer that has called OnStream for it, too: one for each
// such pair, which the mesh opens. f is called with it, in a goroutine of its own, on both sides. want, if it is not
// nil, chooses the peers; both sides have to want each other.
//
// The stream is f's: it stays open when f returns, and whoever has it closes it when Read or Write fails. It is opened
// once: when it has ended, there is a new one only after the peer has left and joined again, or one of the two has
// removed the name and called OnStream again. The mesh closes it with Close, which waits for f to return.
//
// remove takes the name back: no stream of it is opened any more. Those that are open stay.
//
// A name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores. A second OnStream for it is an error.
func (m *Mesh) OnStream(name string, want func(Info) bool, f func(*Stream)) (remove func(), err error) {
	return m.streams.onStream(name, want, f)
}

// Listen takes the streams of that name, which any member may open, any number of times, with [Mesh.Dial]. So an
// http.Server, or a server of any other protocol, can serve on the mesh.
//
// A name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores, and is in use once in a node: by Listen,
// by [Mesh.ListenWebSocket] or by [Mesh.OnStream].
func (m *Mesh) Listen(name string) (*Listener, error) { return m.streams.listen(name, false) }

// ListenWebSocket is Listen for clients of the WebSocket protocol (RFC 6455) beside nodes: a program in any language that
// runs as our user connects to the node's socket and asks for /stream/NAME. [Stream.Peer] of such a client has the id
// -1 and its process id. It names no cluster and is no member.
//
// The streams carry WebSocket frames. The handshake is done, with no subprotocol and no extension; what follows is for
// framing.New, and the same on the other side if that is a node.
//
// The header Origin is not looked at: no browser gets at the socket. A proxy that lets one has to do it.
func (m *Mesh) ListenWebSocket(name string) (*Listener, error) { return m.streams.listen(name, true) }

// Dial opens a stream to the member of that id, for what has called [Mesh.Listen] or [Mesh.ListenWebSocket] for the name
// there. Who has the lower id does not matter, and there may be any number of streams of a name.
//
// It waits, until ctx is done, as long as the peer has no room for another stream. Its error is a *[RefusedError] when
// nobody listens, and Is [ErrNoPeer] when there is no such member, also while a link that was cut comes up again,
// [net.ErrClosed] when the mesh is closed, and [os.ErrDeadlineExceeded] when a peer that hangs gives no answer for 10 s.
//
// The stream is the caller's. Close of the mesh closes it, too, as does a link that is lost.
func (m *Mesh) Dial(ctx context.Context, id int, name string) (*Stream, error) {
	stream, err := m.streams.dialMember(ctx, id, name)
	if err != nil {
		return nil, fmt.Errorf("peer: dial stream %q of node %d: %w", name, id, err)
	}
	return stream, nil
}

// Handle lets this node answer more HTTP on its own socket, beside streams: requests that match pattern, as in
// [http.ServeMux], go to handler. Only processes of our own user get in. In a mesh of [Solo] nobody can ask.
//
// An answer may take as long as it likes and can be sent in pieces, with [http.ResponseController] or [http.Flusher];
// the context of the request ends when the client goes away, when it has not taken a piece for 10 s, and in Close, which
// waits for the handler. The body of a request can have 1 MiB, and 256 requests are answered at a time; what is beyond
// that is refused. The handler cannot take over the connection: that is what streams are for.
//
// It is an error if pattern is none, names a host, or collides with an earlier one or with those of the mesh: /stream and
// /nodes, and all below them. After Close the error is [net.ErrClosed].
func (m *Mesh) Handle(pattern string, handler http.Handler) error {
	if err := m.handlers.handle(pattern, handler); err != nil {
		return fmt.Errorf("peer: handle %q: %w", pattern, err)
	}
	return nil
}
