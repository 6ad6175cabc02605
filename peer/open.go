package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"time"
)

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

// dialMember is Mesh.Dial.
func (st *streams) dialMember(ctx context.Context, id int, name string) (*Stream, error) {
	if err := checkStream(name); err != nil {
		return nil, err
	}
	var last error // why it was not opened yet
	for delay := minDelay; ctx.Err() == nil; delay = min(2*delay, maxDelay) {
		peer, err := st.members.find(id)
		if err != nil {
			return nil, err
		}
		stream, _, err := st.dialer.dial(ctx, peer.node(), name)
		if err == nil {
			return stream, nil
		}
		if refused, ok := errors.AsType[*refusedError](err); ok && isRefused(err) {
			return nil, &RefusedError{Peer: peer, Stream: name, Reason: refused.reason}
		}
		if ctx.Err() != nil {
			break
		}
		if last = err; !isPassing(err) {
			return nil, err
		}
		select {
		case <-time.After(delay/2 + rand.N(delay)):
		case <-st.closing:
		case <-ctx.Done():
		}
	}
	if last != nil {
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), last)
	}
	return nil, context.Cause(ctx)
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
