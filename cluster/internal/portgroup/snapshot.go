package portgroup

import (
	"slices"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// Snapshot tells who sat where in a group at a time. A master replicates it to some of its nodes, from whom its successor has
// it: to ask the kernel instead takes some milliseconds in which the hash decides.
type Snapshot struct {
	At     time.Duration `json:"at"`               // by CLOCK_MONOTONIC, nanoseconds
	Inodes []uint32      `json:"inodes,omitempty"` // by index; none: it is uncertain
}

// IsNewer tells whether a snapshot is newer than another one, which may be nil.
func (s *Snapshot) IsNewer(than *Snapshot) bool { return than == nil || s.At > than.At }

// Inodes returns the members by index, for a snapshot: none while that is uncertain.
func (m *Map[N]) Inodes() (inodes []uint32) {
	members := m.order.Members()
	if m.unknown || slices.ContainsFunc(members, (*Member[N]).IsHole) {
		return nil
	}
	for _, one := range members {
		inodes = append(inodes, one.Inode)
	}
	return inodes
}

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

// restore makes the snapshot of another master ours, with what has changed since.
func (m *Map[N]) restore() {
	told := m.told
	m.told = nil
	if len(told.Inodes) == 0 {
		m.Forget()
		return
	}
	var changes []change[N]
	rest := slices.Clone(m.members)
	m.base, m.changes = nil, nil
	for _, inode := range told.Inodes {
		i := slices.IndexFunc(rest, func(one *Member[N]) bool { return one.Inode == inode })
		if i < 0 {
			one := &Member[N]{Inode: inode}
			m.base, changes = append(m.base, one), append(changes, change[N]{one, false})
			continue
		}
		m.base, rest = append(m.base, rest[i]), slices.Delete(rest, i, i+1)
	}
	for _, one := range rest {
		changes = append(changes, change[N]{one, true})
	}
	m.unknown = false
	m.order = reuseport.NewOrder(m.base...)
	m.redraw(changes)
}
