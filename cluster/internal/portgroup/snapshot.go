package portgroup

import (
	"time"
)

// Snapshot is the map of a group at a time. A master replicates it to some of its nodes, which pass it to its successor: to probe
// instead takes some milliseconds in which the hash decides.
type Snapshot struct {
	At     time.Duration `json:"at"`               // by CLOCK_MONOTONIC, nanoseconds
	Inodes []uint32      `json:"inodes,omitempty"` // by index; none: it is uncertain
}

// IsNewer reports whether a snapshot is newer than another one, which may be nil.
func (s *Snapshot) IsNewer(than *Snapshot) bool { return than == nil || s.At > than.At }
