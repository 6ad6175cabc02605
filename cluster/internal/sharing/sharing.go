// Package sharing lends the listeners of this node to other nodes, and watches the queues of those that are lent to it. So what
// waits in the queue of a node that is stopped, busy or dead is accepted by another one.
//
// Each pair of nodes has a stream for it. A node lends its listeners to its next siblings in a ring of all nodes, and to masters, which
// hold them: a master shuts down the listener of a node that has died.
package sharing

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

// streamName names the stream between two nodes.
const streamName = "listeners"

// maxSiblings is how many nodes watch a queue.
const maxSiblings = 8

// What a listener is sent for.
const (
	toWatch byte = 'w' // to accept from its queue, or if that is done already, behind those that do
	toHold  byte = 'h' // to a master: it is the sender's own
	toKeep  byte = 'k' // to a master: the sender watches it
)

// Sharing is the part of a node. All methods may be called at the same time.
type Sharing struct {
	mode   reuseport.WatchMode
	mesh   *peer.Mesh
	logger *slog.Logger
	remove func() // ends the offer of streams

	mu     sync.Mutex
	links  map[int]*link                         // guarded by mu; by id of the peer
	own    map[*reuseport.MultiListener]*lending // guarded by mu
	early  []lent                                // guarded by mu; lent before this node listens on their port
	held   map[uint32]lent                       // guarded by mu; by inode; in a master
	saved  map[uint32]bool                       // guarded by mu; those of held whose node has died
	closed bool                                  // guarded by mu
}

// lent is a listener of another node.
type lent struct {
	*reuseport.Borrowed
	owner int // id of the node that has sent it as its own; unknown: of another one
}

const unknown = -1

// New begins to share with the nodes of a mesh. The caller closes it before the mesh.
func New(mesh *peer.Mesh, mode reuseport.WatchMode, logger *slog.Logger) (*Sharing, error) {
	s := &Sharing{
		mode: mode, mesh: mesh, logger: logger, links: make(map[int]*link), own: make(map[*reuseport.MultiListener]*lending),
		held: make(map[uint32]lent), saved: make(map[uint32]bool),
	}
	var err error
	s.remove, err = mesh.OnStream(streamName, nil, s.serve)
	return s, err
}

// Close ends all that was lent to this node, and not given to a listener. Streams end with the mesh.
func (s *Sharing) Close() {
	s.remove()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range slices.Concat(s.early, slices.Collect(maps.Values(s.held))) {
		_ = l.Close() // a duplicate
	}
	s.early, s.held = nil, nil
}

// Share returns a listener that watches the queues of other nodes, too. It owns l.
func (s *Sharing) Share(l *net.TCPListener) (*reuseport.MultiListener, error) {
	made := make(chan *reuseport.MultiListener, 1)
	m, err := reuseport.NewMultiListener(l, reuseport.MultiOptions{Mode: s.mode, Registered: func() {
		m := <-made // at the first Accept it is
		made <- m
		s.renewSoon(m)
	}})
	if err == nil {
		made <- m
	}
	return m, err
}

// renewSoon puts the watches of other nodes behind that of the own queue, at most once in renewInterval.
func (s *Sharing) renewSoon(m *reuseport.MultiListener) {
	go func() { // ends at once, but for the mutex
		s.mu.Lock()
		defer s.mu.Unlock()
		l := s.own[m]
		if l == nil || l.pending {
			return
		}
		l.pending = true
		time.AfterFunc(time.Until(l.renewed.Add(renewInterval)), func() { s.renew(m) })
	}()
}

func (s *Sharing) renew(m *reuseport.MultiListener) {
	s.mu.Lock()
	if l := s.own[m]; l != nil {
		l.again()
	}
	s.mu.Unlock()
	s.lendAll()
}

func isMaster(p peer.Info) bool { return p.Slot == 0 && p.Generation > 0 }

// serve receives what a peer lends. It is a goroutine of the mesh.
func (s *Sharing) serve(stream *peer.Stream) {
	defer stream.Close()
	// A peer sends only after this byte: what comes with the handshake is read without descriptors.
	hello := []byte{0}
	if _, err := stream.Write(hello); err != nil {
		return
	}
	if _, err := io.ReadFull(stream, hello); err != nil {
		return
	}
	l := &link{Stream: stream}
	s.add(l)
	defer s.drop(l)
	for {
		b, purpose, err := reuseport.Receive(stream)
		switch {
		case err == nil:
			s.receive(stream.Peer(), b, purpose)
		case errors.Is(err, syscall.EINVAL): // it was closed on its way, or this process has no room for descriptors
			s.logger.Debug("a listener of another node cannot be watched", "peer", stream.Peer().ID, "error", err)
		default:
			return
		}
	}
}

func (s *Sharing) add(l *link) {
	s.mu.Lock()
	s.links[l.Peer().ID] = l
	saved := slices.Collect(maps.Keys(s.saved))
	s.mu.Unlock()
	s.lendAll()
	for _, inode := range saved {
		s.lendHeld(l, inode)
	}
	if isMaster(l.Peer()) {
		s.report(l)
	}
}

// drop forgets a peer, and what it has lent in advance.
func (s *Sharing) drop(l *link) {
	s.mu.Lock()
	id := l.Peer().ID
	if s.links[id] == l {
		delete(s.links, id)
	}
	for _, lending := range s.own {
		delete(lending.to, id)
	}
	s.release()
	s.early = slices.DeleteFunc(s.early, func(e lent) bool {
		if e.owner != id {
			return false
		}
		_ = e.Close() // a duplicate
		return true
	})
	s.mu.Unlock()
	s.lendAll() // to those that follow in the ring
}

// Open lends a listener that Share has returned.
func (s *Sharing) Open(m *reuseport.MultiListener) {
	s.mu.Lock()
	s.own[m] = &lending{to: make(map[int]bool)}
	var ready []lent
	s.early = slices.DeleteFunc(s.early, func(e lent) bool {
		is := e.Addr() == m.Addr().String()
		if is {
			ready = append(ready, e)
		}
		return is
	})
	for _, h := range s.held {
		if h.Addr() != m.Addr().String() {
			continue
		}
		if b, err := h.Clone(); err == nil {
			ready = append(ready, lent{b, h.owner})
		}
	}
	links := slices.Collect(maps.Values(s.links))
	s.mu.Unlock()
	for _, e := range ready {
		watch(s.logger, m, e.Borrowed)
	}
	s.lendAll()
	for _, l := range links {
		if isMaster(l.Peer()) {
			s.report(l)
		}
	}
}

// Shut forgets a listener that is about to be closed.
func (s *Sharing) Shut(m *reuseport.MultiListener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.own, m)
}

// lendAll lends each listener to the siblings that do not have it.
func (s *Sharing) lendAll() {
	s.mu.Lock()
	plan := make(map[*reuseport.MultiListener][]*link)
	for m, lending := range s.own {
		plan[m] = lending.plan(ring(s.links, s.mesh.Self().ID))
	}
	s.mu.Unlock()
	for m, links := range plan {
		for _, l := range links {
			s.lend(l, m, 0, toWatch)
		}
	}
}

// ring returns the siblings that watch the queues of the node self, the next one first.
func ring(links map[int]*link, self int) []*link {
	ids := slices.Sorted(maps.Keys(links))
	first, _ := slices.BinarySearch(ids, self)
	ids = slices.Concat(ids[first:], ids[:first])
	siblings := make([]*link, min(len(ids), maxSiblings))
	for i := range siblings {
		siblings[i] = links[ids[i*len(ids)/len(siblings)]] // all around, so that neighbours that stall together do not matter
	}
	return siblings
}

// report lends a master all listeners that this node has or watches.
func (s *Sharing) report(l *link) {
	s.mu.Lock()
	own := slices.Collect(maps.Keys(s.own))
	s.mu.Unlock()
	for _, m := range own {
		s.lend(l, m, 0, toHold)
		for _, q := range m.Counts()[1:] {
			if q.Inode != 0 {
				s.lend(l, m, q.Inode, toKeep)
			}
		}
	}
}

// lend sends a listener: the one of m, or one that m watches.
func (s *Sharing) lend(l *link, m *reuseport.MultiListener, inode uint32, purpose byte) {
	b, err := m.Lend(inode)
	if err != nil {
		return // it is closed
	}
	s.send(l, b, purpose)
}

// send sends a duplicate, and closes it here.
func (s *Sharing) send(l *link, b *reuseport.Borrowed, purpose byte) {
	if err := l.send(b, purpose); errors.Is(err, os.ErrDeadlineExceeded) {
		s.logger.Warn("a listener could not be lent to a node that hangs", "peer", l.Peer().ID, "error", err)
	}
	_ = b.Close() // a duplicate
}

func (s *Sharing) receive(from peer.Info, b *reuseport.Borrowed, purpose byte) {
	switch purpose {
	case toWatch:
		if m := s.ownAt(b.Addr()); m != nil {
			watch(s.logger, m, b)
			return
		}
		s.mu.Lock()
		if !s.closed && !isMaster(s.mesh.Self()) { // a master holds it anyway
			s.early = append(s.early, lent{b, from.ID})
			b = nil
		}
		s.mu.Unlock()
	case toHold, toKeep:
		b = s.hold(from.ID, b, purpose == toHold)
	}
	if b != nil {
		_ = b.Close() // a duplicate
	}
}

// ownAt returns this node's listener at an address, nil if there is none.
func (s *Sharing) ownAt(address string) *reuseport.MultiListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.own {
		if m.Addr().String() == address {
			return m
		}
	}
	return nil
}

// watch lets a listener watch the queue of another one, or puts the watch behind those of other nodes.
func watch(logger *slog.Logger, m *reuseport.MultiListener, b *reuseport.Borrowed) {
	inode, err := reuseport.Inode(b)
	if err != nil {
		_ = b.Close() // a duplicate
		return
	}
	_, err = m.Watch(b)
	if errors.Is(err, os.ErrExist) {
		err = m.Renew(inode)
	}
	if err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrNotExist) {
		logger.Warn("the queue of another node cannot be watched", "address", m.Addr(), "error", err)
	}
}
