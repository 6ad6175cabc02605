package sharing

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/multinode-go/multinode/reuseport"
)

// hold keeps a listener for its master. It returns the duplicate that is not needed, nil if there is none.
func (s *Sharing) hold(from int, b *reuseport.Borrowed, isOwn bool) (rest *reuseport.Borrowed) {
	inode, err := reuseport.Inode(b)
	if err != nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !isMaster(s.mesh.Self()) {
		return b
	}
	s.release()
	now, known := s.held[inode]
	if known {
		if isOwn {
			now.owner = from
			s.held[inode] = now
		}
		return b
	}
	owner := unknown
	if isOwn {
		owner = from
	}
	s.held[inode] = lent{b, owner}
	return nil
}

// release lets go of the listeners that were shut down. It is called with mu held.
func (s *Sharing) release() {
	for inode, l := range s.held {
		if !l.Listens() {
			_ = l.Close() // a duplicate
			delete(s.held, inode)
			delete(s.saved, inode)
		}
	}
}

// Owner returns the node that has a listener, as far as it was told to this master.
func (s *Sharing) Owner(inode uint32) (id int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.held[inode]
	return l.owner, ok && l.owner != unknown
}

// Mode returns how queues are watched.
func (s *Sharing) Mode() reuseport.WatchMode {
	if s.mode == reuseport.WatchAuto && reuseport.ProbeWatch() == nil {
		return reuseport.WatchExclusive
	}
	return reuseport.WatchPolling
}

// Shares reports whether a node shares its queues.
func (s *Sharing) Shares(id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[id] != nil
}

// borrow returns a duplicate of a listener that this master holds. Its error Is os.ErrNotExist if there is none.
func (s *Sharing) borrow(inode uint32) (*reuseport.Borrowed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.held[inode]
	if !ok || !l.Listens() {
		return nil, fmt.Errorf("listener %d is not lent to the master: %w", inode, os.ErrNotExist)
	}
	return l.Clone()
}

// Rescue has all nodes watch the queue of a listener whose node has died, those that are linked now and those that come, until it is
// shut down.
func (s *Sharing) Rescue(inode uint32) {
	s.mu.Lock()
	s.saved[inode] = true
	links := slices.Collect(maps.Values(s.links))
	s.mu.Unlock()
	for _, l := range links {
		s.lendHeld(l, inode)
	}
	b, err := s.borrow(inode)
	if err != nil {
		return
	}
	if m := s.ownAt(b.Addr()); m != nil {
		watch(s.logger, m, b)
	} else {
		_ = b.Close() // a duplicate
	}
}

// lendHeld has a node watch a listener that this master holds.
func (s *Sharing) lendHeld(l *link, inode uint32) {
	if b, err := s.borrow(inode); err == nil { // else it was shut down
		s.send(l, b, toWatch)
	}
}
