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

// ErrNoMaster is for the [Join] of a guest without a master to give it an id.
var ErrNoMaster = errors.New("no master lives there: start one first, or look into another directory")

// ErrNoPeer is for a [Mesh.Dial] to an id that no member has.
var ErrNoPeer = errors.New("no member has that id")

// RefusedError is for a [Mesh.Dial] to a member that does not listen for the stream.
type RefusedError struct {
	Peer   Info
	Stream string
	Reason string // as the peer says it
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("node %d refuses it: %s", e.Peer.ID, e.Reason)
}

// refusedError is a handshake that one side refused: the listener with an HTTP status, or the dialer with status 0.
type refusedError struct {
	status  int
	reason  string
	version int         // what the listener speaks instead, when it has refused ours; else 0
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

// isRefused reports whether the peer has refused the request, or we its answer.
func isRefused(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.status != http.StatusServiceUnavailable
}

// isBusy reports whether the peer only has no room now.
func isBusy(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.status == http.StatusServiceUnavailable
}

// isPassing tells errors that a peer gives while it has no room, starts, dies or is published again, and those of a
// connection that was cut. Whether there is any sense in dialing again, the next look at the members tells.
func isPassing(err error) bool {
	passing := []error{
		syscall.EAGAIN, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, fs.ErrNotExist,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	}
	return isBusy(err) || slices.ContainsFunc(passing, func(target error) bool { return errors.Is(err, target) })
}
