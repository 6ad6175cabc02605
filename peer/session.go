package peer

import (
	"context"
	"errors"
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

// state is the message between two nodes on their link: at first, when the peer has become a member, and when it changes.
// A node ignores fields that it does not know.
type state struct {
	// Streams are the streams that it wants to have with this peer: by name a number, which changes when a name has been
	// withdrawn and taken up again in between.
	Streams map[string]int `json:"streams"`
	Member  bool           `json:"member,omitempty"` // the peer is a member
}

// session is the membership of a peer, from the hellos of both sides to the end of their link.
type session struct {
	members *members
	peer    Info
	stream  *Stream
	conn    *framing.Conn // over stream

	telling sync.Mutex // held while a state is made and sent, so that the last one sent is the last one made

	// Guarded by core.mu.
	complete bool                // each side is a member for the other
	wanted   map[string]int      // what the peer wants, see state
	opened   map[string]*opening // by name of the stream
}

// meet makes the peer a member. The dialer says hello first. Each is a member for the other when both have confirmed it:
// for the listener, that is the second state of the dialer.
func (s *session) meet() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.members.opts.handshakeTimeout)
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
	if err := s.members.admit(s, theirs); err != nil {
		return err
	}
	s.renew()
	return nil
}

func (s *session) isDialer() bool { return s.members.self.ID < s.peer.ID }

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
	return s.conn.Send(ctx, state{Streams: s.members.wants(s.peer), Member: member})
}

// renew tells the peer, which is a member, what this node wants from it by now. A peer that takes not even that in time
// is cut.
func (s *session) renew() {
	ctx, cancel := context.WithTimeout(context.Background(), s.members.opts.handshakeTimeout)
	defer cancel()
	if err := s.tell(ctx, true); errors.Is(err, context.DeadlineExceeded) {
		s.members.cut(s.peer, err.Error())
	}
}

// sayGoodbye ends the link as one who leaves.
func (s *session) sayGoodbye() { _ = s.conn.Close(framing.CodeGoingAway, "leaving") } // the peer may be gone, too
