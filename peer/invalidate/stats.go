package invalidate

import (
	"cmp"
	"slices"
	"sync/atomic"

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

type counts struct {
	misses, loads, bypassed, failed, voided, refused, flushes, sent, changes, applied atomic.Uint64
}

func (c *counts) load() Stats {
	return Stats{
		Misses:   c.misses.Load(),
		Loads:    c.loads.Load(),
		Bypassed: c.bypassed.Load(),
		Failed:   c.failed.Load(),
		Voided:   c.voided.Load(),
		Refused:  c.refused.Load(),
		Flushes:  c.flushes.Load(),
		Sent:     c.sent.Load(),
		Changes:  c.changes.Load(),
		Applied:  c.applied.Load(),
	}
}

// peers tells of the other processes, by id.
func (g *group) peers() []PeerStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	peers := make([]PeerStats, 0, len(g.members))
	for _, m := range g.members {
		peers = append(peers, PeerStats{Peer: m.info, Unconfirmed: g.seq - m.acked, Leased: m.leased > now()})
	}
	for _, p := range g.mesh.Peers() {
		if g.board.has(p.Incarnation) {
			peers = append(peers, PeerStats{Peer: p, Shared: true})
		}
	}
	slices.SortFunc(peers, func(a, b PeerStats) int { return cmp.Compare(a.Peer.ID, b.Peer.ID) })
	return peers
}
