package portgroup

import (
	"time"
)

// Snapshot is the map of a group at a time. A master replicates it to some of its nodes, which give it to its successor: to ask the kernel instead takes some milliseconds in which the hash decides.
type Snapshot struct {
	At     time.Duration `json:"at"`               // by CLOCK_MONOTONIC, nanoseconds
	Inodes []uint32      `json:"inodes,omitempty"` // by index; none: it is uncertain
}

// IsNewer tells whether a snapshot is newer than another one, which may be nil.
func (s *Snapshot) IsNewer(than *Snapshot) bool { return than == nil || s.At > than.At }

// Tell gives the map a snapshot of another master, which the next look uses if nothing better is known.
func (m *Map[N]) Tell(s *Snapshot) {
	if !s.IsNewer(m.told) {
		return
	}
	m.told = s
	m.unknown = m.unknown || !m.IsCertain()
}

// Untell forgets the snapshots that it was told.
func (m *Map[N]) Untell() { m.told = nil }
