package invalidate

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
)

const (
	topicPrefix = "invalidate/"
	// rounds is how many rounds there are in the time of a lease.
	rounds = 4
	// minRetry is the time between two rounds when one has failed; it doubles.
	minRetry = 5 * time.Millisecond
)

// group is this process among those that have the cache: a writer and a holder, for those that share no table with it.
type group struct {
	bus     *bus.Bus
	mesh    *peer.Mesh
	topic   string
	session uint64
	length  time.Duration // of our lease
	commit  time.Duration // how long a write may take that was sent
	fence   func(peer.Info)
	log     *slog.Logger
	target  target
	table   *versioned.Table
	host    *host // nil: the table is not shared
	lease   *versioned.Lease
	changes atomic.Uint64
	sent    atomic.Uint64

	sub      *bus.Subscription
	remove   []func() // take back what the mesh has got
	kick     chan none
	closing  chan none // closed by leave
	known    chan none // closed when all that live know this process
	running  sync.WaitGroup
	stopping func()
	stopped  context.Context //nolint:containedctx // of the rounds

	sending sync.Mutex // held while messages of our stream are sent, so that they come in order

	mu       sync.Mutex
	left     bool                                   // guarded by mu; nothing is served and nothing begins any more
	members  map[rendezvous.Incarnation]*member     // guarded by mu
	asked    map[rendezvous.Incarnation]none        // guarded by mu; who was asked, and has not ended since
	gen      uint64                                 // guarded by mu; changes with each suspension: a round from before renews nothing
	joined   bool                                   // guarded by mu; known is closed
	problems map[rendezvous.Incarnation]Unconfirmed // guarded by mu; who has failed the last round
	seq      uint64                                 // guarded by mu; of our last change
	pending  []*batch                               // guarded by mu; not sent yet
	flight   []*batch                               // guarded by mu; sent, and not done
	open     map[string]int                         // guarded by mu; keys of our updates, as of seq
	adopting int                                    // guarded by mu; those that are gone, whose open updates are not in open yet
	timer    *time.Timer                            // guarded by mu; sends what is pending; nil before its first use
}

type none = struct{}

func newGroup(b *bus.Bus, name string, length time.Duration, t target, l *versioned.Lease) *group {
	g := &group{
		bus:      b.WhenFull(bus.Fail),
		mesh:     b.Mesh(),
		topic:    topicPrefix + name,
		session:  rand.Uint64() | 1, // 0 is none
		length:   length,
		target:   t,
		lease:    l,
		kick:     make(chan none, 1),
		closing:  make(chan none),
		known:    make(chan none),
		members:  make(map[rendezvous.Incarnation]*member),
		asked:    make(map[rendezvous.Incarnation]none),
		problems: make(map[rendezvous.Incarnation]Unconfirmed),
		open:     make(map[string]int),
	}
	g.stopped, g.stopping = context.WithCancel(context.Background())
	return g
}

// start takes part. What it begins is ended by close.
func (g *group) start() error {
	var err error
	if g.sub, err = g.bus.Subscribe(g.topic, g.handle); err != nil {
		return err
	}
	g.remove = append(g.remove, g.bus.OnClose(g.leave), inside.Of(g.mesh).OnClose(g.leave), g.mesh.OnEvent(g.event))
	g.running.Go(g.renewAll) // ended by close, which waits
	return nil
}

// leave stops serving, refuses what is to be confirmed and gives its slot of the table back, so that nothing of it is in the
// directory. It is called before the mesh or the bus tells anybody that this process leaves, or closes a link of its own
// accord. Rule 4 is here.
func (g *group) leave() {
	g.stopServing()
	if err := errors.Join(g.host.close(), g.table.Close()); err != nil {
		g.log.Warn("the shared memory is not closed", "reason", err)
	}
}

func (g *group) stopServing() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left {
		return
	}
	g.left = true
	close(g.closing)
	g.suspendLocked(true)
}

// close leaves, and tells the others that they need not wait.
func (g *group) close() error {
	g.leave()
	g.stopping()
	for _, remove := range g.remove {
		remove()
	}
	g.running.Wait()
	g.send(func() { g.broadcast(message{kind: kindBye, session: g.session}) })
	err := g.sub.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
	}
	return err
}

// suspendLocked ends the lease until the next round has succeeded. All is thrown away, too, where it is asked for and when
// the lease was over before.
func (g *group) suspendLocked(flush bool) {
	g.gen++
	over := g.lease.IsOver(clock.Now())
	g.lease.Suspend()
	if flush || over {
		g.target.Flush()
	}
	g.wake()
}

// wake starts the next round at once.
func (g *group) wake() {
	select {
	case g.kick <- none{}:
	default:
	}
}

// check returns an error when this process has left.
func (g *group) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left {
		return net.ErrClosed
	}
	return nil
}

// handle is called with what comes from a process that has the cache, in order.
func (g *group) handle(_ context.Context, in bus.Message) (any, error) {
	m, err := parse(in.Data)
	if err != nil {
		g.desync(in.From, err)
		return nil, err
	}
	switch m.kind {
	case kindAsk:
		return g.grant(in.From, m)
	case kindAck:
		g.acked(in.From, m)
	case kindBye:
		g.gone(in.From, m)
	case kindChange, kindSync:
		g.changed(in.From, m)
	default: // nobody has asked
	}
	return nil, nil //nolint:nilnil // an empty answer
}

// grant answers a process that renews its lease: it may serve until then what it has stored, if it has applied our changes
// up to now. Whoever asks for the first time has the cache from now on, and so we need a lease from it.
func (g *group) grant(from peer.Info, ask message) (any, error) {
	m := g.meet(from, ask.own)
	if m == nil {
		return nil, errShared
	}
	inStep := ask.session == g.session
	var unknown time.Duration
	if len(ask.ops) > 0 { // to one that comes; others know of it, or need not
		unknown = g.target.Distrusts()
	}
	g.mu.Lock()
	if g.left {
		g.mu.Unlock()
		return nil, net.ErrClosed
	}
	if !inStep && !g.isToldLocked(from, ask.ops) {
		g.mu.Unlock()
		return nil, errChanged
	}
	m.leased = max(m.leased, clock.Now()+int64(ask.time))
	if inStep {
		g.confirmLocked(m, ask.seq)
	}
	answer := message{kind: kindGrant, session: g.session, seq: g.seq, time: unknown}
	g.mu.Unlock()
	if !inStep {
		g.send(func() { g.sync(from) })
	}
	return answer.encode(), nil
}

// errShared is for what only those say to one another that do not share a table.
var errShared = errors.New("the process shares the table")

// sync tells a process where our stream is, and which updates are open. The caller holds sending.
func (g *group) sync(to peer.Info) {
	m := message{kind: kindSync, session: g.session}
	g.mu.Lock()
	m.seq = g.seq
	for key, count := range g.open {
		for range count {
			m.ops = appendOp(m.ops, opBegin, []byte(key))
		}
	}
	g.mu.Unlock()
	g.report(g.bus.Send(g.stopped, to.ID, g.topic, m.encode()))
}

// changed applies what a writer has changed, and confirms it.
func (g *group) changed(from peer.Info, in message) {
	if g.table.Has(from.Incarnation) { // it is in the table already
		return
	}
	m := g.member(from)
	if in.kind == kindSync { // it answers our question, and may come before the answer
		m = g.meet(from, in.session)
	}
	if m == nil || m.session != in.session {
		g.obey(in)
		return
	}
	take := m.stream.change
	if in.kind == kindSync {
		take = m.stream.sync
	}
	switch applied, err := take(in); {
	case errors.Is(err, errStranger):
		g.obey(in)
	case err != nil:
		g.desync(from, err)
	default:
		g.confirm(from, in.session, applied)
	}
}

// confirm tells a writer what was applied.
func (g *group) confirm(to peer.Info, session, seq uint64) {
	m := message{kind: kindAck, session: session, seq: seq}
	g.report(g.bus.Send(g.stopped, to.ID, g.topic, m.encode())) // if it does not come, the next round tells it
}

// obey does what can be done for a change of one whose stream is not in step, or who is gone: it costs a load at most.
func (g *group) obey(m message) {
	_ = eachOp(m.ops, func(o op, data []byte) error {
		if o == opBegin || o == opEnd {
			o = opKey
		}
		return g.target.apply(o, data)
	})
}

// desync suspends serving until the stream of a writer is taken up anew.
func (g *group) desync(from peer.Info, why error) {
	g.log.Info("throwing all away", "peer", from.ID, "reason", why)
	g.mu.Lock()
	m := g.members[from.Incarnation]
	if m == nil {
		g.mu.Unlock()
		return
	}
	g.suspendLocked(false)
	g.mu.Unlock()
	m.stream.desync()
}

// report logs what a message has met. Each is made up for: a change that did not come is a gap, a confirmation that did
// not is told by the next round.
func (g *group) report(err error) {
	if err != nil {
		g.log.Debug("a message was not sent", "reason", err)
	}
}
