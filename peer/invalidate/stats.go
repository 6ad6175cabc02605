package invalidate

import (
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
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

// Stats returns what was counted, and how the cache is.
func (c *Cache[K, V]) Stats() Stats {
	counts := &c.store.Counts
	stats := Stats{
		Entries:  c.store.Len(),
		Serving:  c.store.Lease.Runs(clock.Now()),
		Misses:   counts.Misses.Load(),
		Loads:    counts.Loads.Load(),
		Bypassed: counts.Bypassed.Load(),
		Failed:   counts.Failed.Load(),
		Voided:   counts.Voided.Load(),
		Refused:  counts.Refused.Load(),
		Flushes:  counts.Flushes.Load(),
	}
	if c.group != nil {
		stats.Changes = c.group.writer.changes.Load()
		stats.Sent = c.group.writer.sent.Load()
		stats.Applied = c.remote.applied.Load()
		stats.Peers = c.group.peers()
	}
	return stats
}
