package bus

import (
	"sync/atomic"

	"github.com/multinode-go/multinode/peer"
)

// Stats are the counters of a bus.
type Stats struct {
	Peers []PeerStats // of the peers that are linked now, by id
	Total Counters    // of all peers since New
}

// PeerStats are the counters of the link to one peer.
type PeerStats struct {
	Peer peer.Info
	Counters
	Unhandled int // bytes of messages that the peer has not confirmed
	Queued    int // bytes in the queue of the link
}

// Counters count messages, without answers, and other events.
type Counters struct {
	Sent     uint64 // put in the queue
	Received uint64
	Dropped  uint64 // of Received, after the end of the subscription
	Lost     uint64 // of Send and Broadcast, not confirmed when the link ended
	Blocked  uint64 // met a bound and waited
	Failed   uint64 // met a bound and failed
	Cut      uint64 // met a bound and cut the peer
	Panics   uint64 // of handlers
	Errors   uint64 // of handlers
}

func (c *Counters) add(d Counters) {
	c.Sent += d.Sent
	c.Received += d.Received
	c.Dropped += d.Dropped
	c.Lost += d.Lost
	c.Blocked += d.Blocked
	c.Failed += d.Failed
	c.Cut += d.Cut
	c.Panics += d.Panics
	c.Errors += d.Errors
}

// counts are the Counters of a link, without Sent, which its remote subscriptions count.
type counts struct {
	received, dropped, lost, blocked, failed, cut, panics, errors atomic.Uint64
}

func (c *counts) load() Counters {
	return Counters{
		Received: c.received.Load(),
		Dropped:  c.dropped.Load(),
		Lost:     c.lost.Load(),
		Blocked:  c.blocked.Load(),
		Failed:   c.failed.Load(),
		Cut:      c.cut.Load(),
		Panics:   c.panics.Load(),
		Errors:   c.errors.Load(),
	}
}

// counters returns what was counted on a link.
func (l *link) counters() Counters {
	sum := l.counts.load()
	sum.Sent = l.remotes.total()
	return sum
}

// Stats returns the counters.
func (b *Bus) Stats() Stats {
	stats := Stats{Total: b.hub.links.total()}
	for _, l := range b.hub.links.sorted() {
		stats.Peers = append(stats.Peers, l.stats())
	}
	return stats
}

func (l *link) stats() PeerStats {
	stats := PeerStats{Peer: l.peer, Counters: l.counters(), Queued: l.conn.Queued()}
	for _, r := range l.remotes.all() {
		stats.Unhandled += int(r.unhandled())
	}
	return stats
}
