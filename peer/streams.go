package peer

import (
	"context"
	"errors"
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
	number int // counts the calls of OnStream
	want   func(Info) bool
	handle func(*Stream)
}

func (o *offer) wants(peer Info) bool { return o.want == nil || o.want(peer) }

// streams are the names for which this node has called OnStream or Listen.
type streams struct {
	*core
	dialer    dialer
	members   *members
	offers    map[string]*offer    // guarded by mu
	listeners map[string]*Listener // guarded by mu
	offered   int                  // guarded by mu; the number of the last offer
}

// checkUnusedLocked returns an error when this node uses the name already.
func (st *streams) checkUnusedLocked(name string) error {
	if st.offers[name] != nil || st.listeners[name] != nil || name == linkStream {
		return errors.New("the name is in use in this node: choose another")
	}
	return nil
}

// onStream is Mesh.OnStream.
func (st *streams) onStream(name string, want func(Info) bool, f func(*Stream)) (remove func(), err error) {
	o := &offer{name: name, want: want, handle: f}
	if err := st.addOffer(o); err != nil {
		return nil, fmt.Errorf("peer: streams %q: %w", name, err)
	}
	st.announce()
	return func() { st.removeOffer(o) }, nil
}

func (st *streams) addOffer(o *offer) error {
	if err := checkStream(o.name); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.checkUnusedLocked(o.name); err != nil {
		return err
	}
	st.offered++
	o.number = st.offered
	st.offers[o.name] = o
	return nil
}

func (st *streams) removeOffer(o *offer) {
	st.mu.Lock()
	if st.offers[o.name] != o {
		st.mu.Unlock()
		return
	}
	delete(st.offers, o.name)
	for _, s := range st.members.sessions {
		delete(s.opened, o.name)
	}
	st.mu.Unlock()
	st.announce()
}

// announce sends all members the streams that this node wants now, and opens the streams that both sides want.
func (st *streams) announce() {
	st.mu.Lock()
	sessions := slices.Collect(maps.Values(st.members.sessions))
	st.mu.Unlock()
	for _, s := range sessions {
		st.run(func() { // ended by the end of the link
			st.members.renew(s)
			st.openStreams(s)
		})
	}
}

// wants returns the streams that this node wants to have with a peer, see state.
func (st *streams) wants(peer Info) map[string]int {
	st.mu.Lock()
	offers := slices.Collect(maps.Values(st.offers))
	st.mu.Unlock()
	wanted := make(map[string]int)
	for _, o := range offers { // with the lock released: want is the user's
		if o.wants(peer) {
			wanted[o.name] = o.number
		}
	}
	return wanted
}

// openStreams opens the streams that both sides want, if this node is the dialer.
func (st *streams) openStreams(s *session) {
	if !s.isDialer {
		return
	}
	for name := range st.wants(s.peer) {
		if o := st.claim(s, name); o != nil {
			st.run(func() { st.open(s, o) }) // ended by the end of the session
		}
	}
}

// claim returns a new attempt to open the stream of that name, or nil if none is due.
func (st *streams) claim(s *session, name string) *opening {
	st.mu.Lock()
	defer st.mu.Unlock()
	offered := st.offers[name]
	if s.opened[name] != nil || offered == nil || s.wanted[name] == 0 {
		return nil
	}
	o := &opening{name: name, handle: offered.handle}
	s.opened[name] = o
	return o
}

// open opens a stream. When that fails after the request, the peer may believe that the stream is open: then the membership
// is cut, so that neither side waits for ever.
func (st *streams) open(s *session, o *opening) {
	for delay := minDelay; st.isDue(s, o); delay = min(2*delay, maxDelay) {
		stream, asked, err := st.dialer.dial(context.Background(), s.peer.node(), o.name)
		switch {
		case err == nil && st.isDue(s, o):
			o.handle(stream)
			return
		case err == nil:
			_ = stream.Close() // it was never used
		case asked && !isRefused(err):
			st.members.cut(s.peer, fmt.Sprintf("cannot open stream %q: %v", o.name, err))
			return
		}
		if !st.pause(delay/2 + rand.N(delay)) {
			return
		}
	}
}

// isDue reports whether a stream is still to be opened.
func (st *streams) isDue(s *session, o *opening) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return s.opened[o.name] == o && st.members.sessions[s.peer.node()] == s
}

// offerFor returns the offer for a stream that a peer has dialed, nil if there is none.
func (st *streams) offerFor(name string, from Info) *offer {
	st.mu.Lock()
	o := st.offers[name]
	if st.members.sessions[from.node()] == nil || from.ID >= st.self.ID {
		o = nil
	}
	st.mu.Unlock()
	if o == nil || !o.wants(from) {
		return nil
	}
	return o
}

// checkStream returns an error when name cannot name a stream.
func checkStream(name string) error {
	if !rendezvous.IsName(name) || strings.ToLower(name) != name {
		return fmt.Errorf("stream name %.80q: want 1 to %d lower-case letters, digits, dots, hyphens and underscores",
			name, rendezvous.MaxName)
	}
	return nil
}
