package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/framing"
)

const (
	// linkStream is the stream that makes a peer a member. The node with the lower id dials it.
	linkStream = "link"
	// goodbyeTimeout is how long a peer may take to answer a goodbye.
	goodbyeTimeout = time.Second
	maxState       = 64 << 10 // bytes of one message on a link
	// deathTimeout is how long the lock of a dead process may be held beyond the end of its link, and maxDeathDelay the
	// longest time between two looks at it.
	deathTimeout  = 5 * time.Second
	maxDeathDelay = 100 * time.Millisecond
)

// state is what a node says to a peer on their link: at first, when the peer has become a member, and when it changes.
// What a node does not know in it, it ignores.
type state struct {
	// Streams are the streams that it wants to have with this peer: by name a number, which changes when a name has been
	// withdrawn and taken up again in between.
	Streams map[string]int `json:"streams"`
	Member  bool           `json:"member,omitempty"` // the peer is a member
}

// session is the membership of a peer, from the hellos of both sides to the end of their link.
type session struct {
	mesh   *Mesh
	peer   Info
	stream *Stream
	conn   *framing.Conn // over stream

	telling sync.Mutex // held while a state is made and sent, so that the last one sent is the last one made

	// Guarded by mesh.mu.
	complete bool                // each side is a member for the other
	wanted   map[string]int      // what the peer wants, see state
	opened   map[string]*opening // by name of the stream
}

// runLink is one end of a link. It returns when the link has ended.
func (m *Mesh) runLink(stream *Stream) error {
	s := &session{
		mesh:   m,
		peer:   stream.peer,
		stream: stream,
		conn:   framing.New(stream, framing.Options{MaxMessage: maxState, CloseTimeout: goodbyeTimeout}),
		opened: make(map[string]*opening),
	}
	if !m.addLink(s) {
		return stream.Close()
	}
	defer m.dropLink(s)
	if err := s.meet(); err != nil {
		return fmt.Errorf("no hello: %w", err)
	}
	m.openStreams(s)
	for {
		theirs, err := s.receive(context.Background())
		if err != nil {
			m.lose(s, err)
			return nil
		}
		m.update(s, theirs)
	}
}

// addLink makes Close say goodbye on the link. It returns false after Close.
func (m *Mesh) addLink(s *session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.links[s] = none{}
	}
	return !m.ended
}

// dropLink closes a link that has ended, or that did not come about: the peer may have us for a member by then.
func (m *Mesh) dropLink(s *session) {
	m.mu.Lock()
	delete(m.links, s)
	ended := m.ended
	m.mu.Unlock()
	if ended {
		s.sayGoodbye()
	} else {
		_ = s.conn.Close(framing.CodeNormal, "") // it has ended, or is closed by who has ended the session
	}
}

// meet makes the peer a member. The dialer says hello first. Each is a member for the other when both have been told
// so: the listener knows it by the second state of the dialer.
func (s *session) meet() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.mesh.opts.handshakeTimeout)
	defer cancel()
	if s.isDialer() {
		if err := s.tell(ctx, false); err != nil {
			return err
		}
	}
	theirs, err := s.receive(ctx)
	if err != nil {
		return err
	}
	if err := s.mesh.admitMember(s, theirs); err != nil {
		return err
	}
	s.renew()
	return nil
}

func (s *session) isDialer() bool { return s.mesh.self.ID < s.peer.ID }

func (s *session) receive(ctx context.Context) (theirs state, err error) {
	message, err := s.conn.Receive(ctx)
	if err == nil {
		err = message.Decode(&theirs)
	}
	return theirs, err
}

// tell sends what this node wants from the peer by now.
func (s *session) tell(ctx context.Context, member bool) error {
	s.telling.Lock()
	defer s.telling.Unlock()
	return s.conn.Send(ctx, state{Streams: s.mesh.wants(s.peer), Member: member})
}

// renew tells the peer, which is a member, what this node wants from it by now. A peer that takes not even that in time
// is cut.
func (s *session) renew() {
	ctx, cancel := context.WithTimeout(context.Background(), s.mesh.opts.handshakeTimeout)
	defer cancel()
	if err := s.tell(ctx, true); errors.Is(err, context.DeadlineExceeded) {
		s.mesh.Cut(s.peer, err.Error())
	}
}

// sayGoodbye ends the link as one who leaves.
func (s *session) sayGoodbye() { _ = s.conn.Close(framing.CodeGoingAway, "leaving") } // the peer may be gone, too

// admitMember makes the peer of s a member, in place of an older session with it, whose end was not seen yet.
func (m *Mesh) admitMember(s *session, theirs state) error {
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

// update takes over what the peer says of itself.
func (m *Mesh) update(s *session, theirs state) {
	m.mu.Lock()
	maps.DeleteFunc(s.opened, func(name string, _ *opening) bool { return s.wanted[name] != theirs.Streams[name] })
	s.wanted = theirs.Streams
	s.complete = s.complete || theirs.Member
	m.changeLocked()
	m.mu.Unlock()
	m.openStreams(s)
}

// dropLocked ends a membership, once.
func (m *Mesh) dropLocked(s *session, reason Reason) bool {
	if m.sessions[s.peer.node()] != s {
		return false
	}
	delete(m.sessions, s.peer.node())
	m.emitLocked(Event{Type: Left, Peer: s.peer, Reason: reason})
	return true
}

// lose ends the membership of a peer whose link has ended with err.
func (m *Mesh) lose(s *session, err error) {
	reason := m.whyLost(s.peer.node(), err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dropLocked(s, reason) && reason == ReasonCut && !m.ended {
		m.log.Warn("the link to a peer that lives was lost", "peer", s.peer.node().String(), "error", err)
	}
}

// whyLost tells a peer that has left from one that died, and that from one that lives. The kernel closes the descriptors
// of a dead process one by one: the link can end before the lock is free.
func (m *Mesh) whyLost(n node, err error) Reason {
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

// Cut ends the membership of a peer, as one that is not wanted in the state that it is in: all streams to it are closed,
// and both sides see it leave with ReasonCut. It is not kept out: its link comes up again. Cut of a node that is no
// member does nothing.
func (m *Mesh) Cut(peer Info, reason string) {
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
			_ = conn.Close() // whoever uses it sees the error
		}
	}
	m.running.Go(func() { _ = s.conn.Close(framing.CodePolicy, reason) }) // ended by the goodbye's time-out
}

// Peers returns the members, this node not among them, by id.
func (m *Mesh) Peers() []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peersLocked()
}

func (m *Mesh) peersLocked() []Info {
	peers := make([]Info, 0, len(m.sessions))
	for _, s := range m.sessions {
		peers = append(peers, s.peer)
	}
	slices.SortFunc(peers, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return peers
}
