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

// membership are the processes that have the cache and share no table with this process. Our lease needs an answer of each
// member, so it runs and ends here, too.
//
// Locks: the writer, which has a mutex of its own, is called with mu held; so is the flush of the store, which does not block.
// mu is not held while something is sent, or applied.
type membership struct {
	*transport
	writer *writer
	table  *versioned.Table
	lease  *versioned.Lease
	target target
	length time.Duration // of our lease
	commit time.Duration // how long a write may take that was sent
	kick   chan none     // starts a round at once
	known  chan none     // closed when all live processes know this one

	mu       sync.Mutex
	members  map[rendezvous.Incarnation]*member     // guarded by mu
	asked    map[rendezvous.Incarnation]none        // guarded by mu; the processes that were asked, and have not ended since
	gen      uint64                                 // guarded by mu; changes with each suspension: a round from before renews nothing
	joined   bool                                   // guarded by mu; known is closed
	problems map[rendezvous.Incarnation]Unconfirmed // guarded by mu; the processes that have failed the last round
}

// event handles an event of the mesh. A peer that is dead or has left sends and serves nothing any more. A lost link proves
// nothing: it will come up again.
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

// lost suspends the lease when the link to a process is lost: its changes may not arrive.
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

// end removes m, a process that is dead, has left, or has closed its cache. No change waits for it any more. It returns false
// if the process has another cache by now.
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
	isKnown := clock.Now() < m.trusted // which updates it has begun
	ms.mu.Unlock()
	if !isKnown {
		ms.target.Distrust(ms.commit)
	}
	ms.adopt(m.stream.end())
	ms.writer.pump()
	ms.wake()
	return true
}

// adopt keeps the keys of the updates that a dead process has left open blocked, here and in new processes: the writes that it
// has sent may still be committed. Rule 10 is here.
func (ms *membership) adopt(keys []string) {
	if !ms.writer.adopt(keys) {
		return
	}
	ms.log.Info("a process is gone with open updates: their keys are not stored", "keys", len(keys), "for", ms.commit)
	ms.target.doubt(keys) // afterwards, so that their ends follow the begins
}

// meet returns the member for a process and a session. From a new member, a lease is needed from now on, and an earlier cache
// of the process has ended.
//
// It returns nil for a process that shares the table.
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

// admitLocked returns the member for a process, a new one if there is none.
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

// ended removes a process that is dead or has left.
func (ms *membership) ended(p peer.Info) {
	for !ms.end(p, ms.member(p)) { // its answer has come meanwhile
	}
}

// gone removes a process that has closed its cache.
func (ms *membership) gone(from peer.Info, bye wire.Message) {
	for {
		m := ms.member(from)
		if m != nil && m.session != bye.Session || ms.end(from, m) {
			return
		}
	}
}

// desync suspends the lease as changes of a member were missed or not understood. It returns nil for a process that is no member.
func (ms *membership) desync(p peer.Info) *member {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.members[p.Incarnation]
	if m != nil {
		ms.suspendLocked(false)
	}
	return m
}
