package invalidate

import (
	"github.com/multinode-go/multinode/peer"
)

// Stats are the counters of a cache, and its state.
type Stats struct {
	Entries  int    // values in memory, including dropped ones that are not freed yet
	Serving  bool   // the lease runs
	Misses   uint64 // calls of Get that found nothing to serve
	Loads    uint64 // calls of the loader
	Bypassed uint64 // loads whose result could not be stored from the beginning: no lease, or an update
	Failed   uint64 // loads that returned an error or panicked
	Voided   uint64 // loads whose result was not stored, as the key was invalidated meanwhile
	Refused  uint64 // loads whose result was older than the stored value
	Flushes  uint64 // times that all values were dropped
	Changes  uint64 // invalidations by this process: of keys, tags, all, begins and ends of updates
	Sent     uint64 // messages sent with these changes; none while all processes share memory
	Applied  uint64 // invalidations received by messages
	Peers    []PeerStats
}

// PeerStats is the state of another process that has the cache, as this process knows it.
type PeerStats struct {
	Peer        peer.Info
	Unconfirmed uint64 // messages that it has not confirmed
	Leased      bool   // its lease runs: it may serve stored values
	Shared      bool   // it shares memory with this process, and needs no lease and no confirmation
}
