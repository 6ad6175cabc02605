package invalidate

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

const topicPrefix = "invalidate/"

// group connects this process with the processes that have the cache and share no table with it. It starts and ends its three
// parts, and passes each message to the part that it is for. The parts have no cycle: holder knows membership, and membership
// knows writer.
type group struct {
	*transport
	writer  *writer
	members *membership
	holder  *holder
	table   *versioned.Table
	host    *host // nil: the table is not shared
	sub     *bus.Subscription
	remove  []func() // unregister from the mesh and the bus
	stop    context.CancelFunc
}

// terms are the options that a group needs.
type terms struct {
	name   string
	length time.Duration // of our lease
	commit time.Duration // how long a write may take that was sent
	fence  func(peer.Info)
	log    *slog.Logger
}

func newGroup(b *bus.Bus, terms terms, table *versioned.Table, host *host, target target, lease *versioned.Lease) *group {
	t := &transport{
		bus:     b.WhenFull(bus.Fail),
		topic:   topicPrefix + terms.name,
		session: rand.Uint64() | 1, // 0 is none
		log:     terms.log,
		closing: make(chan none),
	}
	g := &group{transport: t, table: table, host: host}
	t.stopped, g.stop = context.WithCancel(context.Background())
	g.writer = &writer{transport: t, readers: make(map[*member]*reader), open: make(map[string]int)}
	g.members = &membership{
		transport: t,
		writer:    g.writer,
		table:     table,
		lease:     lease,
		target:    target,
		length:    terms.length,
		commit:    terms.commit,
		kick:      make(chan none, 1),
		known:     make(chan none),
		members:   make(map[rendezvous.Incarnation]*member),
		asked:     make(map[rendezvous.Incarnation]none),
		problems:  make(map[rendezvous.Incarnation]Unconfirmed),
	}
	g.holder = &holder{transport: t, members: g.members, target: target, length: terms.length, fence: terms.fence}
	return g
}

// start joins the group. close ends what start begins.
func (g *group) start() error {
	var err error
	if g.sub, err = g.bus.Subscribe(g.topic, g.handle); err != nil {
		return err
	}
	mesh := g.bus.Mesh()
	g.remove = append(g.remove, g.bus.OnClose(g.leave), inside.Of(mesh).OnClose(g.leave), mesh.OnEvent(g.members.event))
	g.holder.running.Go(g.holder.renewAll) // ended by close, which waits
	return nil
}

// leave stops serving, fails the changes that wait for confirmations, and frees the slot of the table. It is called before the
// mesh or the bus lets peers see that this process leaves, or closes a link of its own accord. Rule 4 is here.
func (g *group) leave() {
	g.members.leave()
	if err := errors.Join(g.host.close(), g.table.Close()); err != nil {
		g.log.Warn("the shared memory is not closed", "reason", err)
	}
}

// close leaves, and tells the others not to wait for this process any more.
func (g *group) close() error {
	g.leave()
	g.stop()
	for _, remove := range g.remove {
		remove()
	}
	g.holder.running.Wait()
	g.writer.close()
	return g.sub.Close()
}

// handle is called with the messages of a process that has the cache, in order.
func (g *group) handle(_ context.Context, in bus.Message) (any, error) {
	m, err := wire.Parse(in.Data)
	if err != nil {
		g.holder.desync(in.From, err)
		return nil, err
	}
	switch m.Kind {
	case wire.Ask:
		return g.grant(in.From, m)
	case wire.Ack:
		g.writer.acked(g.members.member(in.From), m)
	case wire.Bye:
		g.members.gone(in.From, m)
	case wire.Change, wire.Sync:
		g.holder.changed(in.From, m)
	default: // an answer without a question
	}
	return nil, nil //nolint:nilnil // an empty answer
}

// grant answers a process that renews its lease. A process that asks for the first time becomes a member, so from now on this
// process needs a lease from it.
func (g *group) grant(from peer.Info, ask wire.Message) (any, error) {
	m := g.members.meet(from, ask.Own)
	if m == nil {
		return nil, errShared
	}
	var unknown time.Duration
	if len(ask.Ops) > 0 { // of a new process; others know it already, or need not
		unknown = g.members.target.Distrusts()
	}
	answer, err := g.writer.grant(m, ask)
	if err != nil {
		return nil, err
	}
	answer.Time = unknown
	return answer.Encode(), nil
}

// errShared: a process that shares the table needs no lease.
var errShared = errors.New("the process shares the table")

// peers returns the other processes that have the cache, by id.
func (g *group) peers() []PeerStats {
	peers := g.writer.peers()
	for _, p := range g.bus.Mesh().Peers() {
		if g.table.Has(p.Incarnation) {
			peers = append(peers, PeerStats{Peer: p, Shared: true})
		}
	}
	slices.SortFunc(peers, func(a, b PeerStats) int { return cmp.Compare(a.Peer.ID, b.Peer.ID) })
	return peers
}
