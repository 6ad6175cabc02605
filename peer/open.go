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

// ErrNoPeer is in the error of [Mesh.Dial] when no member has the id.
var ErrNoPeer = errors.New("no member has that id")

// RefusedError is in the error of [Mesh.Dial] when the peer does not take the stream, and would not take it later
// either: nobody listens for it there.
type RefusedError struct {
	Peer   Info
	Stream string
	Reason string // as the peer says it
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("node %d refuses it: %s", e.Peer.ID, e.Reason)
}

// Dial opens a stream to the member of that id, for what has called [Mesh.Listen] or [Mesh.ListenWebSocket] for the name
// there. Who has the lower id does not matter, and there may be any number of streams of a name.
//
// It waits, until ctx is done, as long as the peer has no room for another stream. Its error is a *[RefusedError] when
// nobody listens, and Is [ErrNoPeer] when there is no such member, also while a link that was cut comes up again,
// [net.ErrClosed] when the mesh is closed, and [os.ErrDeadlineExceeded] when a peer that hangs gives no answer for 10 s.
//
// The stream is the caller's. Close of the mesh closes it, too, as does [Mesh.Cut].
func (m *Mesh) Dial(ctx context.Context, id int, name string) (*Stream, error) {
	stream, err := m.dialMember(ctx, id, name)
	if err != nil {
		return nil, fmt.Errorf("peer: dial stream %q of node %d: %w", name, id, err)
	}
	return stream, nil
}

func (m *Mesh) dialMember(ctx context.Context, id int, name string) (*Stream, error) {
	if err := checkStream(name); err != nil {
		return nil, err
	}
	var last error // why it was not opened yet
	for delay := minDelay; ctx.Err() == nil; delay = min(2*delay, maxDelay) {
		peer, err := m.member(id)
		if err != nil {
			return nil, err
		}
		stream, _, err := m.dialContext(ctx, peer.node(), name)
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
		case <-m.closing:
		case <-ctx.Done():
		}
	}
	if last != nil {
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), last)
	}
	return nil, context.Cause(ctx)
}

// member returns the member of that id.
func (m *Mesh) member(id int) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return Info{}, net.ErrClosed
	}
	for _, s := range m.sessions {
		if s.peer.ID == id {
			return s.peer, nil
		}
	}
	return Info{}, ErrNoPeer
}

func (m *Mesh) isMember(peer Info) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[peer.node()] != nil
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
