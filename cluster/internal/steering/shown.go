package steering

import (
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// groupStatus is the status snapshot of a group.
type groupStatus struct {
	certain   bool
	members   int
	mute      bool            // there is a member that does not talk to us
	obstacle  string          // why the group is not steered; "": it is
	contested bool            // another process replaces the program that steers
	asking    time.Time       // since when the kernel is asked; zero: it is not
	weight    map[int]float64 // by id, in percent
	strangers []control.Stranger
}

// shown is the last status of a group, which is read without the group's turn.
type shown struct {
	mu  sync.Mutex
	now groupStatus // guarded by mu
}

func (s *shown) get() groupStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// set replaces all fields except asking.
func (s *shown) set(status groupStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status.asking = s.now.asking
	s.now = status
}

// ask takes note since when the kernel is asked.
func (s *shown) ask(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.asking = since
}
