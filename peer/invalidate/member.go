package invalidate

import (
	"encoding/binary"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// member is another process that has the cache, and shares no table with this one.
type member struct {
	info    peer.Info
	session uint64  // of its stream
	stream  *stream // what has come of it

	// Guarded by group.mu.
	leased  int64  // when the lease that it has from us is over
	trusted int64  // when the lease that we have from it is over: until then it waits for us
	acked   uint64 // up to where it has applied our changes
	cut     bool   // the link is lost
	silent  int    // rounds in a row that it has not answered
}

// event is told what happens to peers. Of one that is dead or has left nothing more comes, and it serves nothing. That a
// link is lost proves nothing: it will be there again.
func (g *group) event(e peer.Event) {
	if e.Type == peer.Left {
		g.table.Observe() // it may have had a slot
	}
	switch {
	case e.Type == peer.Joined:
		g.regain(e.Peer)
	case e.Reason == peer.ReasonCut:
		g.lost(e.Peer)
	default:
		g.ended(e.Peer)
	}
}

// lost is for a process to which the link is lost. It may change something that is not heard here.
func (g *group) lost(p peer.Info) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.members[p.Incarnation]; m != nil {
		m.cut = true
		g.suspendLocked(true)
	}
}

func (g *group) regain(p peer.Info) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.members[p.Incarnation]; m != nil {
		m.cut = false
	}
	g.wake()
}

// end takes out m, a process that is dead or has left, or has closed its cache. Nobody waits for it any more. It returns
// false if the process is there with another cache by now.
func (g *group) end(p peer.Info, m *member) bool {
	g.mu.Lock()
	if g.members[p.Incarnation] != m {
		g.mu.Unlock()
		return false
	}
	delete(g.problems, p.Incarnation)
	delete(g.asked, p.Incarnation)
	if m == nil {
		g.mu.Unlock()
		return true
	}
	delete(g.members, p.Incarnation)
	g.adopting++
	isKnown := clock.Now() < m.trusted // what it has begun
	for _, b := range g.flight {
		b.confirm(m)
	}
	g.landLocked()
	g.mu.Unlock()
	if !isKnown {
		g.target.Distrust(g.commit)
	}
	g.adopt(m.stream.end())
	g.pump()
	g.wake()
	return true
}

// adopt takes over the open updates of a process that is gone: what it has sent may still be committed. It begins them in our
// stream, for those that come and have not heard of them, and ends them when their time is over. Rule 10 is here.
func (g *group) adopt(keys []string) {
	var begins []byte
	for _, key := range keys {
		begins = appendOp(begins, opBegin, []byte(key))
	}
	g.mu.Lock()
	if len(keys) == 0 || g.left {
		g.adopting--
		g.mu.Unlock()
		return
	}
	g.log.Info("a process is gone with open updates: their keys are not stored", "keys", len(keys), "for", g.commit)
	b := g.queueLocked(nil, begins, len(keys))
	b.adopted++
	g.mu.Unlock()
	g.pump()
	g.target.hold(keys) // afterwards, so that the ends are
}

// isToldLocked reports whether a process that comes hears of all updates that are open: each of our members is one that it has
// found alive, and asks, or what that had begun is in our stream by now.
func (g *group) isToldLocked(from peer.Info, found []byte) bool {
	if len(found) == 0 { // it has been there: it hears of the end of each of them itself
		return true
	}
	isFound := make(map[rendezvous.Incarnation]bool)
	for ; len(found) >= incarnationSize; found = found[incarnationSize:] {
		isFound[rendezvous.Incarnation(binary.BigEndian.Uint64(found))] = true
	}
	for incarnation := range g.members {
		if incarnation != from.Incarnation && !isFound[incarnation] {
			return false
		}
	}
	return g.adopting == 0
}

// meet returns the member that a process is with a session. If it is a new one, a lease from it is needed from now on, and
// the process has none of the cache any more that it had before.
//
// It returns nil for one that shares the table.
func (g *group) meet(p peer.Info, session uint64) *member {
	if g.table.Has(p.Incarnation) {
		return nil
	}
	for {
		m := g.admit(p, session)
		if m.session == session {
			return m
		}
		g.end(p, m)
	}
}

// admit returns the member that a process is, a new one where there is none.
func (g *group) admit(p peer.Info, session uint64) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.admitLocked(p, session)
}

func (g *group) admitLocked(p peer.Info, session uint64) *member {
	m := g.members[p.Incarnation]
	if m == nil {
		m = &member{info: p, session: session, stream: newStream(g.target), trusted: clock.Never}
		g.members[p.Incarnation] = m
		g.suspendLocked(false)
	}
	return m
}

func (g *group) member(p peer.Info) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[p.Incarnation]
}

// ended is for a process that is dead or has left.
func (g *group) ended(p peer.Info) {
	for !g.end(p, g.member(p)) { // an answer has come meanwhile
	}
}

// gone is for a process that has closed its cache.
func (g *group) gone(from peer.Info, bye message) {
	for {
		m := g.member(from)
		if m != nil && m.session != bye.session || g.end(from, m) {
			return
		}
	}
}
