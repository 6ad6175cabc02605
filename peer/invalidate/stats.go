package invalidate

import (
	"github.com/multinode-go/multinode/peer"
)

// Stats is what a cache has counted, and how it is.
type Stats struct {
	Entries  int    // stored now, those included that are thrown away and still have memory
	Serving  bool   // the lease runs
	Misses   uint64 // calls of Get that found nothing to serve
	Loads    uint64 // calls of the loader
	Bypassed uint64 // of these, those whose result could not be stored when they began: no lease, or an update
	Failed   uint64 // of these, those that have returned an error or panicked
	Voided   uint64 // of these, those whose result was not stored since the key was invalidated meanwhile
	Refused  uint64 // of these, those whose result was older than what was stored
	Flushes  uint64 // times that all was thrown away
	Changes  uint64 // invalidations of this process: of keys, tags, all, begins and ends of updates
	Sent     uint64 // messages with them that were sent; none while all share memory
	Applied  uint64 // invalidations of other processes that came by messages
	Peers    []PeerStats
}

// PeerStats is what is known of another process that has the cache.
type PeerStats struct {
	Peer        peer.Info
	Unconfirmed uint64 // messages that it has not confirmed
	Leased      bool   // it may serve what it has stored, as far as it is known here
	Shared      bool   // it shares memory with this process: it has no lease, and nothing to confirm
}
