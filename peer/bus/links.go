package bus

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/peer"
)

// links are the links of a hub. Senders read the links that are up without a lock.
type links struct {
	up atomic.Pointer[linkedSet] // replaced, with mu held, never changed

	mu      sync.Mutex
	all     map[*link]none // guarded by mu; also links that are not up yet
	last    int            // guarded by mu; the number of the newest link
	changed chan none      // guarded by mu; closed when up is replaced
	past    Counters       // guarded by mu; of links that have ended
}

// linkedSet holds the links that are up, one for each peer.
type linkedSet struct {
	byID   map[int]*link
	sorted []*link // by id
}

func (s *links) init() {
	s.all, s.changed = make(map[*link]none), make(chan none)
	s.up.Store(new(linkedSet))
}

// to returns the link to a peer, nil if none is up.
func (s *links) to(id int) *link { return s.up.Load().byID[id] }

// sorted returns the links that are up, by id.
func (s *links) sorted() []*link { return s.up.Load().sorted }

// has reports whether a link to this incarnation of a peer is up.
func (s *links) has(p peer.Info) bool {
	l := s.to(p.ID)
	return l != nil && l.peer.Incarnation == p.Incarnation
}

// each calls f with each link, up or not. f must not wait.
func (s *links) each(f func(*link)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.all {
		f(l)
	}
}

func (s *links) add(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	l.number = s.last
	s.all[l] = none{}
}

// set makes a link one to send on, or ends that. The newest link to a peer counts: the end of an older one may not have
// been seen yet.
func (s *links) set(l *link, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.isUp = up
	next := &linkedSet{byID: make(map[int]*link)}
	for l := range s.all {
		if old := next.byID[l.peer.ID]; l.isUp && (old == nil || old.number < l.number) {
			next.byID[l.peer.ID] = l
		}
	}
	next.sorted = slices.SortedFunc(maps.Values(next.byID), func(a, b *link) int { return a.peer.ID - b.peer.ID })
	s.up.Store(next)
	close(s.changed)
	s.changed = make(chan none)
}

// forget removes a link that has ended, and keeps its counters.
func (s *links) forget(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, l)
	s.past.add(l.counters())
}

// change returns a channel that is closed when the next link comes up or ends.
func (s *links) change() <-chan none {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// total returns the counters of all links that there ever were.
func (s *links) total() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.past
	for l := range s.all {
		sum.add(l.counters())
	}
	return sum
}
