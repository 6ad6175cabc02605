// Package bus passes messages between the nodes of a mesh: to all subscribers of a topic, to one, and with an answer.
//
//	b, err := bus.New(ctx, mesh, bus.Options{})
//	...
//	defer b.Close()
//	_, err = b.Subscribe("prices", func(ctx context.Context, m bus.Message) (any, error) {
//		var p Price
//		return nil, m.Decode(&p)
//	})
//	err = b.Broadcast(ctx, "prices", Price{...})         // to each other node that has subscribed
//	err = b.Send(ctx, 3, "prices", Price{...})           // to node 3
//	m, err := b.Request(ctx, 3, "prices", Price{...})    // and wait for what its function returns
//	answers, err := b.RequestAll(ctx, "prices", Price{}) // the same with each that has subscribed
//
// A value is sent as by [framing.Conn.Send]: a []byte as it is, everything else as JSON. Decode gets it back.
//
// What always holds:
//
//   - A message goes only to peers that have subscribed its topic, and never to the node that sends it.
//   - What one goroutine sends on one topic to one peer is handled there in that order, one after the other.
//   - A message in the queue to a peer is delivered unless the peer dies, is cut, or closes its bus or subscription. When
//     the link ends, Options.OnLost tells how many of the last messages of each topic may not have been handled; a request
//     returns an error.
//   - A subscriber that is slow or panics delays only senders on its topic. What is on its way to it is bounded in bytes,
//     for each sender and topic by Options.Window, and so is the queue of each link. At the bound the sender waits, fails
//     or cuts the peer, see [Bus.WhenFull]. Answers have room in the queue when messages wait.
//
// The bus keeps nothing for a node that is away, and sends nothing again. The last messages of a peer may be handled after
// the mesh has reported that it left.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
)

// streamName is the name of the bus's stream in the mesh.
const streamName = "bus"

// maxWindow is the largest window, in bytes. The ledger of a remote subscription has to hold it.
const maxWindow = 1 << 30

// Options are the options of New. The zero value is ready to use.
type Options struct {
	// Window is how many bytes of one topic may be on their way from one peer to another and not handled there; the last
	// message may exceed it. The smaller one of two nodes counts. Default: 1 MiB, at most 1 GiB.
	Window int
	// CloseTimeout bounds how long Close waits for peers to take what is queued, and for answers of handlers. Default: 2 s.
	CloseTimeout time.Duration
	// OnLost is called when a link has ended, once for each topic with messages that the peer has not confirmed, and for
	// different peers at the same time. It must not close the bus.
	OnLost func(Lost)
	// Logger receives panics and errors of handlers, and links that break. Default: that of the mesh.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Window <= 0 {
		o.Window = 1 << 20
	}
	o.Window = min(o.Window, maxWindow)
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = 2 * time.Second
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// Lost reports messages of Send and Broadcast that a peer may not have handled: the last Unconfirmed ones on the topic. All
// earlier ones were handled. A peer confirms within some milliseconds, so some of the last ones may have been handled too.
type Lost struct {
	Peer        peer.Info
	Topic       string
	Unconfirmed int
	Err         error // why the link has ended
}

// Bus is a node's part in the bus. Its methods may be called at the same time, and all but Close by handlers.
type Bus struct {
	hub  *hub
	mesh *peer.Mesh
	full Full
}

// Full is what a message does at a bound.
type Full int

// The choices at a bound.
const (
	Block Full = iota // wait until there is room or the context is done
	Fail              // return an error that Is ErrFull
	Cut               // cut the peer, so that both start again, and return an error that Is ErrFull and ErrPeerLeft
)

// New joins the bus of a mesh, which has one, and returns when this node is linked to each peer on it. ctx bounds New only.
// Later peers are linked when they join. A nil mesh, or one of [peer.Solo], makes a bus without peers.
func New(ctx context.Context, mesh *peer.Mesh, opts Options) (*Bus, error) {
	if mesh != nil {
		opts.Logger = cmp.Or(opts.Logger, inside.Of(mesh).Logger())
	}
	h := newHub(opts)
	if mesh == nil {
		return &Bus{hub: h}, nil
	}
	in := inside.Of(mesh)
	h.mesh.self, h.mesh.cut = mesh.Self().ID, in.Cut
	h.mesh.members = func() []peer.Info { return in.PeersWith(streamName) }
	if runtime.GOMAXPROCS(0) > 1 {
		h.startWatch()
	}
	remove, err := mesh.OnStream(streamName, nil, func(s *peer.Stream) { h.open(s, s.Peer()) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bus: %w", err), h.close())
	}
	h.mesh.withdraw = remove
	if err := h.awaitLinks(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("bus: %w", err), h.close())
	}
	return &Bus{hub: h, mesh: mesh}, nil
}

// Mesh returns the mesh of the bus, or nil.
func (b *Bus) Mesh() *peer.Mesh { return b.mesh }

// Logger returns the logger of Options, for a layer above the bus. It is not nil.
func (b *Bus) Logger() *slog.Logger { return b.hub.opts.Logger }

// WhenFull returns the same bus with another choice than Block for when Options.Window of a topic is on its way to a peer,
// or the queue of its link is full.
func (b *Bus) WhenFull(f Full) *Bus { return &Bus{hub: b.hub, mesh: b.mesh, full: f} }

// Close leaves the bus. Within Options.CloseTimeout it delivers what is queued and waits for the answers of running
// handlers; messages that were not handled by then are dropped. Waiting requests and later calls end with net.ErrClosed.
// No handler and no goroutine of the bus runs after it, so a handler must not call it. Further calls wait for the first.
func (b *Bus) Close() error { return b.hub.close() }

// OnClose calls f at the beginning of Close, before peers see this node's subscriptions end, so f can shut down what relies
// on them. Close waits for f, which must not close the bus. remove cancels f; after Close, f is called at once.
func (b *Bus) OnClose(f func()) (remove func()) { return b.hub.closeHooks.Add(f) }

// membersInterval is the time between two looks at the members of the mesh. There is no event for the streams they want.
const membersInterval = 20 * time.Millisecond

// awaitLinks waits until this node is linked to each member.
func (h *hub) awaitLinks(ctx context.Context) error {
	ticker := time.NewTicker(membersInterval)
	defer ticker.Stop()
	for {
		changed := h.links.change()
		missing := slices.DeleteFunc(h.mesh.members(), h.links.has)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("no link with %s, which hangs or is overloaded: %w", list(missing), context.Cause(ctx))
		}
	}
}

func list(peers []peer.Info) string {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = fmt.Sprintf("node %d", p.ID)
	}
	return strings.Join(names, ", ")
}

// shutdown is Close.
func (h *hub) shutdown() error {
	h.closeHooks.Call()
	links, subscriptions := h.refuse()
	h.mesh.withdraw()
	var handlers, handshakes sync.WaitGroup
	for _, s := range subscriptions {
		handlers.Go(func() { _ = s.Close() }) // ends with its handlers, which running waits for as well
	}
	waitFor(&handlers, h.opts.CloseTimeout)
	for _, l := range links {
		handshakes.Go(l.close)
	}
	handshakes.Wait()
	handlers.Wait()
	h.watch.close()
	h.running.Wait()
	return nil
}

// refuse makes all calls fail from now on.
func (h *hub) refuse() ([]*link, []*Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	close(h.closing)
	var links []*link
	h.links.each(func(l *link) {
		l.calls.fail(net.ErrClosed)
		l.conn.Interrupt() // a caller may be reading
		links = append(links, l)
	})
	return links, slices.Collect(maps.Values(h.subscriptions.byTopic))
}

// waitFor waits for a group, but not longer than limit.
func waitFor(group *sync.WaitGroup, limit time.Duration) {
	done := make(chan struct{})
	go func() { // ends with the group, which the caller waits for in the end
		group.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
