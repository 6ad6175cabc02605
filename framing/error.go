package framing

import (
	"errors"
	"fmt"
)

// ErrTooBig is the error of a message that is larger than Options.MaxMessage.
var ErrTooBig = errors.New("message too big")

// ErrQueueFull is the error of a message that was to fail at its Bound. Nothing of it is sent; the connection stays open.
var ErrQueueFull = errors.New("queue full")

// errInvalidUTF8 is the error of a text that is not UTF-8.
var errInvalidUTF8 = errors.New("text is not valid UTF-8")

// ProtocolError is the error for what the peer may not send. It ends the connection.
type ProtocolError struct {
	Code Code  // CodeProtocol, CodeInvalidData or CodeTooBig; it is sent to the peer
	Err  error // what was wrong; ErrTooBig with CodeTooBig
}

// Error returns what was wrong.
func (e *ProtocolError) Error() string { return fmt.Sprintf("protocol error %d: %v", e.Code, e.Err) }

// Unwrap returns Err.
func (e *ProtocolError) Unwrap() error { return e.Err }

func violation(format string, args ...any) error {
	return &ProtocolError{Code: CodeProtocol, Err: fmt.Errorf(format, args...)}
}

// CloseError is the error of a connection that the peer has closed with a close frame.
type CloseError struct {
	Code   Code   // CodeNone when the peer gave none
	Reason string // at most 123 bytes, often none
}

// Error returns code and reason.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("closed by the peer with code %d", e.Code)
	}
	return fmt.Sprintf("closed by the peer with code %d: %s", e.Code, e.Reason)
}
