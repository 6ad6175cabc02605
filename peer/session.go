package peer

import (
	"context"
	"sync"
	"time"

	"github.com/multinode-go/multinode/framing"
)

const (
	// linkStream is the name of the stream that makes a peer a member. The node with the lower id dials it.
	linkStream = "link"
	// goodbyeTimeout bounds the wait for the answer to a goodbye.
	goodbyeTimeout = time.Second
	maxState       = 64 << 10 // bytes of one message on a link
)

// state is the message between two nodes on their link. A node sends it first, again when the peer has become a member, and
// when it changes. It ignores fields that it does not know.
type state struct {
	// Streams are the streams that the node wants to have with this peer: by name a number, which changes when a name has been
	// withdrawn and offered again in between.
	Streams map[string]int `json:"streams"`
	Member  bool           `json:"member,omitempty"` // the peer is a member
}

// session is the membership of a peer, from the hellos of both sides to the end of their link.
type session struct {
	peer     Info
	isDialer bool // this node has dialed the link
	stream   *Stream
	conn     *framing.Conn                  // over stream
	wants    func(peer Info) map[string]int // the streams that this node wants to have with a peer, see state

	telling sync.Mutex // held while a state is made and sent, so that the last one sent is the last one made

	// Guarded by core.mu.
	complete bool                // each side is a member for the other
	wanted   map[string]int      // the streams that the peer wants, see state
	opened   map[string]*opening // by name of the stream
}

// opening is an attempt to open a stream. It ends when the session holds another one, or none, under its name.
type opening struct {
	name   string
	handle func(*Stream)
}

// newSession returns the session on a link. The peer is no member yet.
func newSession(stream *Stream, isDialer bool, wants func(peer Info) map[string]int) *session {
	return &session{
		peer:     stream.peer,
		isDialer: isDialer,
		stream:   stream,
		conn:     framing.New(stream, framing.Options{MaxMessage: maxState, CloseTimeout: goodbyeTimeout}),
		wants:    wants,
		opened:   make(map[string]*opening),
	}
}

func (s *session) receive(ctx context.Context) (theirs state, err error) {
	message, err := s.conn.Receive(ctx)
	if err == nil {
		err = message.Decode(&theirs)
	}
	return theirs, err
}

// tell sends the streams that this node wants now.
func (s *session) tell(ctx context.Context, member bool) error {
	s.telling.Lock()
	defer s.telling.Unlock()
	return s.conn.Send(ctx, state{Streams: s.wants(s.peer), Member: member})
}

// sayGoodbye ends the link of a node that leaves.
func (s *session) sayGoodbye() { _ = s.conn.Close(framing.CodeGoingAway, "leaving") } // the peer may be gone, too
