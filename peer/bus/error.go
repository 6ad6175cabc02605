package bus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/multinode-go/multinode/peer"
)

var (
	// ErrNoPeer means that the destination is not on the bus.
	ErrNoPeer = errors.New("no such peer on the bus: it has left, or is not linked yet")
	// ErrNoSubscriber means that the peer is not subscribed to the topic.
	ErrNoSubscriber = errors.New("the peer has not subscribed the topic, or has closed its subscription")
	// ErrPeerLeft means that the peer died, left or was cut before the message was sent or answered.
	ErrPeerLeft = errors.New("the peer has left")
	// ErrFull means that the message met a bound, see [Bus.WhenFull].
	ErrFull = errors.New("too much is on its way to the peer")
)

// PeerError is an error with its peer and topic.
type PeerError struct {
	Peer  peer.Info // of a peer that is not on the bus, only the ID
	Topic string    // empty if it is about none
	Err   error
}

// Error names the peer and the topic.
func (e *PeerError) Error() string {
	if e.Topic == "" {
		return fmt.Sprintf("node %d: %v", e.Peer.ID, e.Err)
	}
	return fmt.Sprintf("topic %q to node %d: %v", e.Topic, e.Peer.ID, e.Err)
}

// Unwrap returns Err.
func (e *PeerError) Unwrap() error { return e.Err }

// PeersError is the error of a call to several peers. The message has reached the others.
type PeersError struct {
	Errors []*PeerError // one for each peer that it has not reached, by id
}

// Error names each peer with its error.
func (e *PeersError) Error() string {
	texts := make([]string, len(e.Errors))
	for i, err := range e.Errors {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e *PeersError) Unwrap() []error {
	errs := make([]error, len(e.Errors))
	for i, err := range e.Errors {
		errs[i] = err
	}
	return errs
}

// peersError returns the error for deliveries of which some have failed, nil if none has.
func peersError(deliveries []delivery) error {
	var errs []*PeerError
	for _, d := range deliveries {
		if d.err != nil {
			errs = append(errs, d.err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &PeersError{Errors: errs}
}

// RemoteError is the error with which a peer's handler answered a request.
type RemoteError struct {
	Peer  peer.Info
	Topic string
	Text  string // of the handler's error or panic
}

// Error returns the text. The *PeerError around it names peer and topic.
func (e *RemoteError) Error() string { return "the handler there: " + e.Text }
