package invalidate

import (
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// membership is who has the cache and shares no table with this process. Our lease needs an answer of each member, so it runs
// and ends here, too.
//
// Locks: mu guards all of it. With mu held the writer is told, which has a mutex of its own, and the store is flushed, which
// waits for nobody. It is not held while something is sent, or applied.
type membership struct {
	*transport
	writer *writer
	table  *versioned.Table
	lease  *versioned.Lease
	target target
	length time.Duration // of our lease
	commit time.Duration // how long a write may take that was sent
	kick   chan none     // starts a round at once
	known  chan none     // closed when all that live know this process

	mu       sync.Mutex
	members  map[rendezvous.Incarnation]*member     // guarded by mu
	asked    map[rendezvous.Incarnation]none        // guarded by mu; who was asked, and has not ended since
	gen      uint64                                 // guarded by mu; changes with each suspension: a round from before renews nothing
	joined   bool                                   // guarded by mu; known is closed
	problems map[rendezvous.Incarnation]Unconfirmed // guarded by mu; who has failed the last round
}

// event is told what happens to peers. Of one that is dead or has left nothing more comes, and it serves nothing. That a
// link is lost proves nothing: it will be there again.
func (ms *membership) event(e peer.Event) {
	if e.Type == peer.Left {
		ms.table.Observe() // it may have had a slot
	}
	switch {
	case e.Type == peer.Joined:
		ms.regain(e.Peer)
	case e.Reason == peer.ReasonCut:
		ms.lost(e.Peer)
	default:
		ms.ended(e.Peer)
	}
}

// lost is for a process to which the link is lost. It may change something that is not heard here.
func (ms *membership) lost(p peer.Info) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.members[p.Incarnation]; m != nil {
		m.cut.Store(true)
		ms.suspendLocked(true)
	}
}

func (ms *membership) regain(p peer.Info) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.members[p.Incarnation]; m != nil {
		m.cut.Store(false)
	}
	ms.wake()
}

// end takes out m, a process that is dead or has left, or has closed its cache. Nobody waits for it any more. It returns
// false if the process is there with another cache by now.
func (ms *membership) end(p peer.Info, m *member) bool {
	ms.mu.Lock()
	if ms.members[p.Incarnation] != m {
		ms.mu.Unlock()
		return false
	}
	delete(ms.problems, p.Incarnation)
	delete(ms.asked, p.Incarnation)
	if m == nil {
		ms.mu.Unlock()
		return true
	}
	delete(ms.members, p.Incarnation)
	ms.writer.drop(m)
	isKnown := clock.Now() < m.trusted // what it has begun
	ms.mu.Unlock()
	if !isKnown {
		ms.target.Distrust(ms.commit)
	}
	ms.adopt(m.stream.end())
	ms.writer.pump()
	ms.wake()
	return true
}

// adopt keeps the keys blocked that a process which is gone has left open, here and in those that come: what it has sent may
// still be committed. Rule 10 is here.
func (ms *membership) adopt(keys []string) {
	if !ms.writer.adopt(keys) {
		return
	}
	ms.log.Info("a process is gone with open updates: their keys are not stored", "keys", len(keys), "for", ms.commit)
	ms.target.doubt(keys) // afterwards, so that the ends are
}

// meet returns the member that a process is with a session. If it is a new one, a lease from it is needed from now on, and
// the process has none of the cache any more that it had before.
//
// It returns nil for one that shares the table.
func (ms *membership) meet(p peer.Info, session uint64) *member {
	if ms.table.Has(p.Incarnation) {
		return nil
	}
	for {
		ms.mu.Lock()
		m := ms.admitLocked(p, session)
		ms.mu.Unlock()
		if m.session == session {
			return m
		}
		ms.end(p, m)
	}
}

// admitLocked returns the member that a process is, a new one where there is none.
func (ms *membership) admitLocked(p peer.Info, session uint64) *member {
	m := ms.members[p.Incarnation]
	if m == nil {
		m = &member{info: p, session: session, stream: newStream(ms.target), trusted: clock.Never}
		ms.members[p.Incarnation] = m
		ms.writer.add(m)
		ms.suspendLocked(false)
	}
	return m
}

func (ms *membership) member(p peer.Info) *member {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.members[p.Incarnation]
}

// ended is for a process that is dead or has left.
func (ms *membership) ended(p peer.Info) {
	for !ms.end(p, ms.member(p)) { // an answer has come meanwhile
	}
}

// gone is for a process that has closed its cache.
func (ms *membership) gone(from peer.Info, bye wire.Message) {
	for {
		m := ms.member(from)
		if m != nil && m.session != bye.Session || ms.end(from, m) {
			return
		}
	}
}

// desync is for a member whose changes were missed or not understood. It returns nil for a process that is none.
func (ms *membership) desync(p peer.Info) *member {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.members[p.Incarnation]
	if m != nil {
		ms.suspendLocked(false)
	}
	return m
}
