package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/multinode-go/multinode/internal/closehooks"
	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

// Mesh is this node's side of the mesh. Its methods may be called concurrently.
type Mesh struct {
	*core
	members    *members
	streams    *streams
	handlers   *handlers
	census     census
	server     *localhttp.Server // nil in a mesh of one
	presence   *presence         // nil in a mesh of one
	close      func() error
	leave      func() error    // removes the directory, if Join has opened it; else nil
	closeHooks closehooks.List // of OnClose
}

// Join publishes this node in the directory and links it to all nodes there, now and later, until Close. It returns when
// this node and every node that it has found are members for each other. It does not wait for a node that refuses the
// link, but it does for a node that hangs. ctx bounds Join, not the mesh; the error names the nodes that did not answer.
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

// Solo returns a mesh of one node without a directory, which no other node can join.
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
	if err := ctx.Err(); err != nil { // the rest blocks only for a guest
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

// enter is start in an open directory.
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

// Self returns this node.
func (m *Mesh) Self() Info { return m.self }

// Close removes this node from the directory, says goodbye to its peers, and closes all streams. It waits one second for
// a peer that does not answer, and for all calls of OnStream, OnEvent and Handle functions, which must not call Close. No
// goroutine of the mesh runs after it. Concurrent calls return together.
func (m *Mesh) Close() error {
	if err := m.close(); err != nil {
		return fmt.Errorf("peer: close: %w", err)
	}
	return nil
}

func (m *Mesh) shutdown() (err error) {
	m.closeHooks.Call()
	if m.presence != nil {
		err = m.presence.public.Withdraw() // first, so that no node dials from now on
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

// Peers returns the other members, by id.
func (m *Mesh) Peers() []Info { return m.members.peers() }

// OnEvent calls f with a Joined for each member, and then with each event, in order and one at a time, until remove is
// called or the mesh is closed; then pending events are dropped. A slow f delays only its own events.
func (m *Mesh) OnEvent(f func(Event)) (remove func()) { return m.members.onEvent(f) }

// OnStream opens one stream of that name with each peer that has called OnStream for it, too, and calls f with it in a
// goroutine of its own on both sides. want chooses the peers, nil all of them; both sides have to want each other. For
// names see [Mesh.Listen].
//
// The stream belongs to f, which closes it when Read or Write fails; it stays open when f returns. It is opened again only
// after the peer has left and joined again, or one side has called remove and OnStream again. Open streams outlive
// remove, and end with Close of the mesh, which waits for f to return.
func (m *Mesh) OnStream(name string, want func(Info) bool, f func(*Stream)) (remove func(), err error) {
	return m.streams.onStream(name, want, f)
}

// Listen accepts the streams of that name that members open with [Mesh.Dial], for an http.Server or a server of any other
// protocol. A name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores. It is an error if Listen,
// [Mesh.ListenWebSocket] or [Mesh.OnStream] of this node uses the name already.
func (m *Mesh) Listen(name string) (*Listener, error) { return m.streams.listen(name, false) }

// ListenWebSocket is Listen that also accepts clients of WebSocket (RFC 6455): a program of our user, in any language, connects to
// the node's socket and asks for /stream/NAME. [Stream.Peer] then has the id -1 and the process id.
//
// The streams, also those of nodes, carry WebSocket frames, for framing.New; the handshake is done, without subprotocol
// or extension. Origin is not checked: a proxy that lets browsers reach the socket has to do it.
func (m *Mesh) ListenWebSocket(name string) (*Listener, error) { return m.streams.listen(name, true) }

// Dial opens a stream to a member that has called [Mesh.Listen] or [Mesh.ListenWebSocket] for the name; any number may be
// open. The caller owns the stream, which also ends with the mesh and with the link to the peer.
//
// Dial waits, until ctx is done, while the peer has no room for another stream. Its error is a *[RefusedError] when the
// peer does not listen. It Is [ErrNoPeer] without such a member, also until a cut link is up again, [net.ErrClosed] after
// Close, and [os.ErrDeadlineExceeded] when the peer does not answer within 10 s.
func (m *Mesh) Dial(ctx context.Context, id int, name string) (*Stream, error) {
	stream, err := m.streams.dialMember(ctx, id, name)
	if err != nil {
		return nil, fmt.Errorf("peer: dial stream %q of node %d: %w", name, id, err)
	}
	return stream, nil
}

// Handle serves HTTP on the node's own socket, beside streams, to processes of our own user: requests that match pattern,
// as in [http.ServeMux], go to handler. A mesh of [Solo] has no socket.
//
// An answer may last and be sent in pieces, with [http.ResponseController] or [http.Flusher]; the context of the request
// ends when the client disconnects, when it does not read a piece within 10 s, and in Close, which waits for the handler. A
// body of more than 1 MiB, and more than 256 requests at a time, are refused. The connection cannot be hijacked.
//
// It is an error if pattern is invalid, names a host, or collides with an earlier one or with /stream or /nodes, which
// belong to the mesh. After Close the error Is [net.ErrClosed].
func (m *Mesh) Handle(pattern string, handler http.Handler) error {
	if err := m.handlers.handle(pattern, handler); err != nil {
		return fmt.Errorf("peer: handle %q: %w", pattern, err)
	}
	return nil
}
