package peer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"syscall"
)

// ErrNoMaster is the error of [Join] for a guest when there is no master to assign its id.
var ErrNoMaster = errors.New("no master lives there: start one first, or look into another directory")

// ErrNoPeer is the error of [Mesh.Dial] when no member has the id.
var ErrNoPeer = errors.New("no member has that id")

// RefusedError is the error of a [Mesh.Dial] to a member that does not listen for the stream.
type RefusedError struct {
	Peer   Info
	Stream string
	Reason string // from the peer's answer
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("node %d refuses it: %s", e.Peer.ID, e.Reason)
}

// refusedError is the refusal of a handshake: by the listener with an HTTP status, or by the dialer with status 0.
type refusedError struct {
	status  int
	reason  string
	version int         // the newest of a listener that has refused ours; else 0
	header  http.Header // of the listener's answer
}

func refuse(status int, format string, args ...any) *refusedError {
	return &refusedError{status: status, reason: fmt.Sprintf(format, args...)}
}

func (e *refusedError) Error() string {
	if e.status == 0 {
		return "refused the answer: " + e.reason
	}
	return fmt.Sprintf("refused by the peer (%d %s): %s", e.status, http.StatusText(e.status), e.reason)
}

// isRefused reports whether the peer has refused the request, or this node the answer.
func isRefused(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.status != http.StatusServiceUnavailable
}

// isBusy reports whether the peer has no room at the moment.
func isBusy(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.status == http.StatusServiceUnavailable
}

// isPassing reports whether an error can pass: that of a peer that has no room, starts, dies or is published again, or of a
// cut connection. The next look at the members shows whether to dial again.
func isPassing(err error) bool {
	passing := []error{
		syscall.EAGAIN, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, fs.ErrNotExist,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	}
	return isBusy(err) || slices.ContainsFunc(passing, func(target error) bool { return errors.Is(err, target) })
}
