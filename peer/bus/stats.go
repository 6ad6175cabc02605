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

// counts are the Counters of a link. Sent is that of targets that are gone: the others count for themselves.
type counts struct {
	sent, received, dropped, lost, blocked, failed, cut, panics, errors atomic.Uint64
}

func (c *counts) load() Counters {
	return Counters{
		Sent:     c.sent.Load(),
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
	l.retiredMu.Lock()
	defer l.retiredMu.Unlock()
	sum := l.counts.load()
	for _, t := range l.retired {
		sum.Sent += t.sent.Load()
	}
	for _, t := range *l.targets.Load() {
		sum.Sent += t.sent.Load()
	}
	return sum
}

// Stats returns what was counted until now.
func (b *Bus) Stats() Stats {
	h := b.hub
	h.mu.Lock()
	stats := Stats{Total: h.past}
	for l := range h.all {
		stats.Total.add(l.counters())
	}
	h.mu.Unlock()
	for _, l := range h.linked.Load().sorted {
		stats.Peers = append(stats.Peers, l.stats())
	}
	return stats
}

func (l *link) stats() PeerStats {
	stats := PeerStats{Peer: l.peer, Counters: l.counters(), Queued: l.conn.Queued()}
	for _, t := range *l.targets.Load() {
		stats.Unhandled += int(t.unhandled())
	}
	return stats
}
