package bus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/multinode-go/multinode/peer"
)

var (
	// ErrNoPeer is what a message is for that is to go to a node that is not on the bus: it has left, has never been, or
	// is not linked yet.
	ErrNoPeer = errors.New("no such peer on the bus: it has left, or is not linked yet")
	// ErrNoSubscriber is what a message is for whose topic the peer has not subscribed, or not any more.
	ErrNoSubscriber = errors.New("the peer has not subscribed the topic, or has closed its subscription")
	// ErrPeerLeft is what a message is for whose peer has died, left or been cut before it could be sent or answered.
	ErrPeerLeft = errors.New("the peer has left")
	// ErrFull is what a message is for that met a bound, see [Bus.WhenFull].
	ErrFull = errors.New("too much is on its way to the peer")
)

// PeerError tells which peer and topic an error is about.
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

// PeersError is the error of a call that was for several peers. All others have got the message.
type PeersError struct {
	Errors []*PeerError // one for each peer that has not, by id
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

// RemoteError is the error that a peer's handler has answered a request with.
type RemoteError struct {
	Peer  peer.Info
	Topic string
	Text  string // of the handler's error; that it has panicked, if so
}

// Error returns the text, and says that it is the handler's. Peer and topic are named by the *PeerError around it.
func (e *RemoteError) Error() string { return "the handler there: " + e.Text }
