package invalidate

import "github.com/multinode-go/multinode/peer"

// member is another process that has the cache, and shares no board with this one.
type member struct {
	info    peer.Info
	session uint64  // of its stream
	stream  *stream // what has come of it

	// Guarded by group.mu.
	leased int64  // when the lease that it has from us is over
	acked  uint64 // up to where it has applied our changes
	cut    bool   // the link is lost
	silent int    // rounds in a row that it has not answered
}

// event is told what happens to peers. Of one that is dead or has left nothing more comes, and it serves nothing. That a
// link is lost proves nothing: it will be there again.
func (g *group) event(e peer.Event) {
	switch {
	case e.Type == peer.Joined:
		g.regain(e.Peer)
	case e.Reason == peer.ReasonCut:
		g.lost(e.Peer)
	default:
		g.end(e.Peer, g.member(e.Peer))
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
	if m == nil {
		g.mu.Unlock()
		return true
	}
	delete(g.members, p.Incarnation)
	for _, b := range g.flight {
		b.confirm(m)
	}
	g.landLocked()
	g.mu.Unlock()
	m.stream.end()
	g.pump()
	g.wake()
	return true
}

// meet returns the member that a process is with a session. If it is a new one, a lease from it is needed from now on, and
// the process has none of the cache any more that it had before.
//
// It returns nil for one that shares the board.
func (g *group) meet(p peer.Info, session uint64) *member {
	if g.board.has(p.Incarnation) {
		return nil
	}
	if old := g.member(p); old != nil && old.session != session {
		g.end(p, old)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[p.Incarnation]
	if m == nil {
		m = &member{info: p, session: session, stream: newStream(g.target)}
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

// gone is for a process that has closed its cache.
func (g *group) gone(from peer.Info, bye message) {
	if m := g.member(from); m != nil && m.session == bye.session {
		g.end(from, m)
	}
}
