package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/framing"
)

const (
	// deathTimeout bounds how long the lock of a dead process may be held beyond the end of its link, and maxDeathDelay the
	// time between two looks at it.
	deathTimeout  = 5 * time.Second
	maxDeathDelay = 100 * time.Millisecond
)

// members are the peers of this node, and their links.
type members struct {
	*core
	links    map[*session]none // guarded by mu; the running sessions, also of peers that are not members yet
	sessions map[node]*session // guarded by mu; the members
	watchers map[*watcher]none // guarded by mu

	wants   func(peer Info) map[string]int // the streams that this node wants to have with a peer, see state
	renewed func(*session)                 // called when a peer has sent its state
}

// runLink runs this node's end of a link until the link has ended.
func (m *members) runLink(stream *Stream) error {
	s := newSession(stream, m.self.ID < stream.peer.ID, m.wants)
	if !m.addLink(s) {
		return stream.Close()
	}
	defer m.dropLink(s)
	if err := m.meet(s); err != nil {
		return fmt.Errorf("no hello: %w", err)
	}
	m.renewed(s)
	for {
		theirs, err := s.receive(context.Background())
		if err != nil {
			m.lose(s, err)
			return nil
		}
		m.update(s, theirs)
	}
}

// meet makes the peer a member. The dialer says hello first. Each is a member for the other when both have confirmed it:
// for the listener, that is the second state of the dialer.
func (m *members) meet(s *session) error {
	ctx, cancel := context.WithTimeout(context.Background(), m.opts.handshakeTimeout)
	defer cancel()
	if s.isDialer {
		if err := s.tell(ctx, false); err != nil {
			return err
		}
	}
	theirs, err := s.receive(ctx)
	if err != nil {
		return err
	}
	if err := m.admit(s, theirs); err != nil {
		return err
	}
	m.renew(s)
	return nil
}

// renew sends a member the streams that this node wants now. A peer that does not take the message in time is cut.
func (m *members) renew(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), m.opts.handshakeTimeout)
	defer cancel()
	if err := s.tell(ctx, true); errors.Is(err, context.DeadlineExceeded) {
		m.cut(s.peer, err.Error())
	}
}

// addLink makes Close say goodbye on the link. It returns false after Close.
func (m *members) addLink(s *session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.links[s] = none{}
	}
	return !m.ended
}

// dropLink closes a link that has ended, or whose hello has failed: the peer may count us as a member by then.
func (m *members) dropLink(s *session) {
	m.mu.Lock()
	delete(m.links, s)
	ended := m.ended
	m.mu.Unlock()
	if ended {
		s.sayGoodbye()
	} else {
		_ = s.conn.Close(framing.CodeNormal, "") // it has ended, or is closed by the end of the session
	}
}

// admit makes the peer of s a member. It replaces an older session with the peer, whose end was not seen yet.
func (m *members) admit(s *session, theirs state) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return errors.New("the mesh is closed")
	}
	if old := m.sessions[s.peer.node()]; old != nil {
		m.dropLocked(old, ReasonCut)
	}
	m.sessions[s.peer.node()] = s
	s.wanted, s.complete = theirs.Streams, theirs.Member
	m.emitLocked(Event{Type: Joined, Peer: s.peer})
	return nil
}

// update stores the peer's state.
func (m *members) update(s *session, theirs state) {
	m.mu.Lock()
	maps.DeleteFunc(s.opened, func(name string, _ *opening) bool { return s.wanted[name] != theirs.Streams[name] })
	s.wanted = theirs.Streams
	s.complete = s.complete || theirs.Member
	m.changeLocked()
	m.mu.Unlock()
	m.renewed(s)
}

// dropLocked ends a membership, once.
func (m *members) dropLocked(s *session, reason Reason) bool {
	if m.sessions[s.peer.node()] != s {
		return false
	}
	delete(m.sessions, s.peer.node())
	m.emitLocked(Event{Type: Left, Peer: s.peer, Reason: reason})
	return true
}

// lose ends the membership of a peer whose link has ended with err.
func (m *members) lose(s *session, err error) {
	reason := m.whyLost(s.peer.node(), err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dropLocked(s, reason) && reason == ReasonCut && !m.ended {
		m.log.Warn("the link to a peer that lives was lost", "peer", s.peer.node().String(), "error", err)
	}
}

// whyLost returns whether a lost peer has left, died, or is alive. The kernel closes the descriptors of a dead process one
// by one: the link can end before the lock is free.
func (m *members) whyLost(n node, err error) Reason {
	if closed, ok := errors.AsType[*framing.CloseError](err); ok {
		if closed.Code == framing.CodeGoingAway {
			return ReasonLeft
		}
		return ReasonCut
	}
	for begin, delay := time.Now(), time.Millisecond; ; delay = min(2*delay, maxDeathDelay) {
		if m.gone(n) {
			return ReasonDied
		}
		if time.Since(begin) > deathTimeout || !m.pause(delay) {
			return ReasonCut
		}
	}
}

func (m *members) cut(peer Info, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[peer.node()]
	if s == nil || m.ended {
		return
	}
	m.dropLocked(s, ReasonCut)
	m.log.Warn("cutting a peer", "peer", peer.node().String(), "reason", reason)
	for conn, to := range m.conns {
		if to == peer.node() && conn != s.stream.conn {
			_ = conn.Close() // its user sees the error
		}
	}
	m.running.Go(func() { _ = s.conn.Close(framing.CodePolicy, reason) }) // ended by the goodbye's time-out
}

// find returns the member with that id.
func (m *members) find(id int) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return Info{}, net.ErrClosed
	}
	for _, s := range m.sessions {
		if s.peer.ID == id {
			return s.peer, nil
		}
	}
	return Info{}, ErrNoPeer
}

func (m *members) isMember(peer Info) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[peer.node()] != nil
}

func (m *members) peers() []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peersLocked()
}

func (m *members) peersLocked() []Info {
	peers := make([]Info, 0, len(m.sessions))
	for _, s := range m.sessions {
		peers = append(peers, s.peer)
	}
	slices.SortFunc(peers, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return peers
}

func (m *members) peersWith(name string) []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(m.peersLocked(), func(peer Info) bool {
		return m.sessions[peer.node()].wanted[name] == 0
	})
}

// leave ends the mesh for this node. It says goodbye on all links, at the same time.
func (m *members) leave() {
	m.mu.Lock()
	m.ended = true
	close(m.closing)
	var goodbyes sync.WaitGroup
	for s := range m.links {
		goodbyes.Go(s.sayGoodbye)
	}
	m.mu.Unlock()
	goodbyes.Wait()
}
