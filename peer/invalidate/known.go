package invalidate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// errUnknown is why an invalidation of a process is not confirmed that not all know of.
var errUnknown = errors.New("this process is new, and not all that live know yet that it has the cache")

// awaitKnown waits until all that live know that this process has the cache, but no longer than its lease.
func (ms *membership) awaitKnown(ctx context.Context) error {
	select {
	case <-ms.known:
		return nil
	default:
	}
	timer := time.NewTimer(ms.length)
	defer timer.Stop()
	select {
	case <-ms.known:
		return nil
	case <-ms.closing:
		return net.ErrClosed
	case <-timer.C:
		return &UnconfirmedError{Peers: ms.strangers(), Err: errUnknown}
	case <-ctx.Done():
		return &UnconfirmedError{Peers: ms.strangers(), Err: fmt.Errorf("%w: %w", context.Cause(ctx), errUnknown)}
	}
}

// strangers says who does not know this process yet, and why.
func (ms *membership) strangers() (peers []Unconfirmed) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, one := range ms.problems {
		peers = append(peers, one)
	}
	return byID(peers)
}

// asks notes that a process is asked, and returns what is known of it. One question at a time is open for each.
func (ms *membership) asks(p peer.Info) *member {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.asked[p.Incarnation] = none{}
	return ms.members[p.Incarnation]
}

// answered returns the member that has answered, or nil for one that shares the table. An answer takes a shorter way than
// the messages: the cache that has given it may be closed by now, and another one known in its place. Such an answer is
// void, and the process is asked again.
func (ms *membership) answered(p peer.Info, session uint64) (*member, error) {
	if ms.table.Has(p.Incarnation) {
		return nil, nil //nolint:nilnil // no member, and no error
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.members[p.Incarnation]
	_, isValid := ms.asked[p.Incarnation]
	if !isValid || m != nil && m.session != session {
		return nil, errChanged
	}
	return ms.admitLocked(p, session), nil
}

// trust notes until when a process waits for our confirmations.
func (ms *membership) trust(m *member, until int64) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m.trusted = max(m.trusted, until)
}

// note keeps what has happened to a process, for the error of Invalidate.
func (ms *membership) note(p peer.Info, err error) error {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if err == nil {
		delete(ms.problems, p.Incarnation)
		if m := ms.members[p.Incarnation]; m != nil {
			m.silent.Store(0)
		}
		return nil
	}
	ms.problems[p.Incarnation] = Unconfirmed{Peer: p, Reason: err.Error()}
	return fmt.Errorf("node %d: %w", p.ID, err)
}

// noteGone is for a process that is gone in a round. In the first one the others have to be asked again: those that have
// answered before its end have not told of the updates that it had begun.
func (ms *membership) noteGone() error {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if !ms.joined {
		return errChanged
	}
	return nil
}

// noteAll is note for all that an error of the bus names.
func (ms *membership) noteAll(err error) {
	if all, ok := errors.AsType[*bus.PeersError](err); ok {
		for _, one := range all.Errors {
			_ = ms.note(one.Peer, one.Err)
		}
	}
}
