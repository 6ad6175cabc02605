package bus

import (
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/internal/closehooks"
	"github.com/multinode-go/multinode/peer"
)

// hub is what all copies of a Bus share: the links and the subscriptions.
type hub struct {
	opts       Options
	self       int // our id, -1 without a mesh
	log        *slog.Logger
	members    func() []peer.Info        // peers that are on the bus, linked or not
	cut        func(peer.Info, string)   // ends a membership
	withdraw   func()                    // no stream is opened any more
	close      func() error              // shutdown, once
	closeHooks closehooks.List           // of OnClose
	closing    chan struct{}             // closed by Close
	linked     atomic.Pointer[linkedSet] // replaced, with mu held, never changed
	running    sync.WaitGroup            // links, workers and timers
	watch      watch

	mu      sync.Mutex
	ended   bool                     // guarded by mu; nothing is added to what follows, nor to running, once it is set
	all     map[*link]none           // guarded by mu; those that are not up yet too
	links   int                      // guarded by mu; links that there ever were
	topics  map[string]*Subscription // guarded by mu
	numbers map[uint64]*Subscription // guarded by mu
	number  uint64                   // guarded by mu; of the last subscription
	changed chan struct{}            // guarded by mu; closed when linked is replaced
	past    Counters                 // guarded by mu; of links that have ended
}

type none = struct{}

// linkedSet holds the links that are up, one for each peer.
type linkedSet struct {
	byID   map[int]*link
	sorted []*link // by id
}

func newHub(opts Options) *hub {
	opts = opts.withDefaults()
	h := &hub{
		opts:     opts,
		self:     -1,
		log:      opts.Logger,
		members:  func() []peer.Info { return nil },
		cut:      func(peer.Info, string) {},
		withdraw: func() {},
		closing:  make(chan struct{}),
		all:      make(map[*link]none),
		topics:   make(map[string]*Subscription),
		numbers:  make(map[uint64]*Subscription),
		changed:  make(chan struct{}),
	}
	h.close = sync.OnceValue(h.shutdown)
	h.linked.Store(new(linkedSet))
	return h
}

// open makes a link of a stream. It has all subscriptions of this node, now and later.
func (h *hub) open(conn net.Conn, who peer.Info) {
	if l := newLink(h, conn, who); !h.add(l) {
		l.close() // the peer has to know that this is no accident
	}
}

// add starts a link. It returns false after Close.
func (h *hub) add(l *link) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.links++
	l.number = h.links
	h.all[l] = none{}
	l.greet(slices.Collect(maps.Values(h.topics)))
	h.running.Go(l.read) // ends with the stream
	return true
}

// up makes a link one that can be sent on. An older one to the same peer, whose end was not seen yet, is so no more.
func (h *hub) up(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.isUp = true
	h.relinkLocked()
}

// down is the end of up.
func (h *hub) down(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.isUp = false
	h.relinkLocked()
}

// forget takes out a link that has ended, but for what it has counted.
func (h *hub) forget(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, l)
	h.past.add(l.counters())
}

func (h *hub) relinkLocked() {
	set := &linkedSet{byID: make(map[int]*link)}
	for l := range h.all {
		if old := set.byID[l.peer.ID]; l.isUp && (old == nil || old.number < l.number) {
			set.byID[l.peer.ID] = l
		}
	}
	set.sorted = slices.SortedFunc(maps.Values(set.byID), func(a, b *link) int { return a.peer.ID - b.peer.ID })
	h.linked.Store(set)
	close(h.changed)
	h.changed = make(chan struct{})
}

// change returns a channel that is closed when the next link comes up or ends.
func (h *hub) change() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// isLinked reports whether a link with this incarnation of a peer is up.
func (h *hub) isLinked(p peer.Info) bool {
	l := h.linked.Load().byID[p.ID]
	return l != nil && l.peer.Incarnation == p.Incarnation
}

// isClosed reports whether Close was called.
func (h *hub) isClosed() bool {
	select {
	case <-h.closing:
		return true
	default:
		return false
	}
}
