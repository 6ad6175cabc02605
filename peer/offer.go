package peer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// offer is a stream that this node wants to have with its peers.
type offer struct {
	name   string
	number int // of this OnStream in the life of the mesh
	want   func(Info) bool
	handle func(*Stream)
}

func (o *offer) wants(peer Info) bool { return o.want == nil || o.want(peer) }

// OnStream links this node by a stream of that name with each peer that has called OnStream for it, too: one for each
// such pair, which the mesh opens. f is called with it, in a goroutine of its own, on both sides. want, if it is not
// nil, chooses the peers; both sides have to want each other.
//
// The stream is f's: it stays open when f returns, and whoever has it closes it when Read or Write fails. It is opened
// once: when it has ended, there is a new one only after the peer has left and joined again, or one of the two has
// removed the name and called OnStream again. The mesh closes it with Close, which waits for f to return.
//
// remove takes the name back: no stream of it is opened any more. Those that are open stay.
//
// A name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores. A second OnStream for it is an error.
func (m *Mesh) OnStream(name string, want func(Info) bool, f func(*Stream)) (remove func(), err error) {
	o := &offer{name: name, want: want, handle: f}
	if err := m.addOffer(o); err != nil {
		return nil, fmt.Errorf("peer: streams %q: %w", name, err)
	}
	m.announce()
	return func() { m.removeOffer(o) }, nil
}

func (m *Mesh) addOffer(o *offer) error {
	if err := checkStream(o.name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkUnusedLocked(o.name); err != nil {
		return err
	}
	m.offered++
	o.number = m.offered
	m.offers[o.name] = o
	return nil
}

func (m *Mesh) removeOffer(o *offer) {
	m.mu.Lock()
	if m.offers[o.name] != o {
		m.mu.Unlock()
		return
	}
	delete(m.offers, o.name)
	for _, s := range m.sessions {
		delete(s.opened, o.name)
	}
	m.mu.Unlock()
	m.announce()
}

// announce tells all members what this node wants by now, and opens what is wanted on both sides.
func (m *Mesh) announce() {
	m.mu.Lock()
	sessions := slices.Collect(maps.Values(m.sessions))
	m.mu.Unlock()
	for _, s := range sessions {
		m.run(func() { // ended by the end of the link
			s.renew()
			m.openStreams(s)
		})
	}
}

// wants returns the streams that this node wants to have with a peer, see state.
func (m *Mesh) wants(peer Info) map[string]int {
	m.mu.Lock()
	offers := slices.Collect(maps.Values(m.offers))
	m.mu.Unlock()
	wanted := make(map[string]int)
	for _, o := range offers { // with the lock released: want is not ours
		if o.wants(peer) {
			wanted[o.name] = o.number
		}
	}
	return wanted
}

// opening is a stream that is being opened or was, in one session.
type opening struct {
	session *session
	offer   *offer
}

// openStreams opens what both sides want, if it is ours to do so.
func (m *Mesh) openStreams(s *session) {
	if !s.isDialer() {
		return
	}
	for name := range m.wants(s.peer) {
		if o := m.claim(s, name); o != nil {
			m.run(func() { m.open(o) }) // ended by the end of the session
		}
	}
}

// claim returns what is to be opened now for a name.
func (m *Mesh) claim(s *session, name string) *opening {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.opened[name] != nil || m.offers[name] == nil || s.wanted[name] == 0 {
		return nil
	}
	o := &opening{session: s, offer: m.offers[name]}
	s.opened[name] = o
	return o
}

// open opens a stream. A peer that was asked may have taken the stream for open: then the two of them start anew, lest
// one of them waits for ever.
func (m *Mesh) open(o *opening) {
	to, name := o.session.peer, o.offer.name
	for delay := minDelay; m.isDue(o); delay = min(2*delay, maxDelay) {
		stream, asked, err := m.dial(to.node(), name)
		switch {
		case err == nil && m.isDue(o):
			o.offer.handle(stream)
			return
		case err == nil:
			_ = stream.Close() // nothing was said on it
		case asked && !isRefused(err):
			m.Cut(to, fmt.Sprintf("cannot open stream %q: %v", name, err))
			return
		}
		if !m.pause(delay/2 + rand.N(delay)) {
			return
		}
	}
}

// isDue reports whether a stream is still to be opened.
func (m *Mesh) isDue(o *opening) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := o.session
	return s.opened[o.offer.name] == o && m.sessions[s.peer.node()] == s
}

// offerFor returns the offer for a stream that a peer has dialed, nil if there is none.
func (m *Mesh) offerFor(name string, from Info) *offer {
	m.mu.Lock()
	o := m.offers[name]
	if m.sessions[from.node()] == nil || from.ID >= m.self.ID {
		o = nil
	}
	m.mu.Unlock()
	if o == nil || !o.wants(from) {
		return nil
	}
	return o
}

// PeersWith returns the members that want to have a stream of that name with this node, as far as they have said so, by
// id. What a peer wanted before it joined, it has said when it becomes a member.
func (m *Mesh) PeersWith(name string) []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(m.peersLocked(), func(peer Info) bool {
		return m.sessions[peer.node()].wanted[name] == 0
	})
}

// checkStream returns an error when name cannot name a stream.
func checkStream(name string) error {
	if !rendezvous.IsName(name) || strings.ToLower(name) != name {
		return fmt.Errorf("stream name %.80q: want 1 to %d lower-case letters, digits, dots, hyphens and underscores",
			name, rendezvous.MaxName)
	}
	return nil
}
