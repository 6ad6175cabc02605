package bus

import (
	"sync/atomic"

	"github.com/multinode-go/multinode/peer"
)

// Stats is what a bus has counted.
type Stats struct {
	Peers []PeerStats // those that are linked now, by id
	Total Counters    // of all peers that there ever were
}

// PeerStats is what was counted on the link to one peer, since it is up.
type PeerStats struct {
	Peer peer.Info
	Counters
	Unhandled int // bytes that were sent, and of which it is not known that the peer has handled them
	Queued    int // bytes of these and of what the bus itself says that wait for the stream
}

// Counters are numbers of messages, answers apart, or of other events.
type Counters struct {
	Sent     uint64 // have got their place in the queue
	Received uint64 // have come
	Dropped  uint64 // of those received, had no subscriber any more
	Lost     uint64 // of those sent by Send and Broadcast, were not confirmed when the link ended
	Blocked  uint64 // have met a bound and waited
	Failed   uint64 // have met a bound and failed
	Cut      uint64 // have met a bound and cut the peer
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

// Stats returns what was counted until now.
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
