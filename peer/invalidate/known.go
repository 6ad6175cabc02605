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

// errUnknown: not all processes know this one, so its invalidations are not confirmed.
var errUnknown = errors.New("this process is new, and not all that live know yet that it has the cache")

// awaitKnown waits until all live processes know that this one has the cache, but no longer than its lease.
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

// strangers returns the processes that do not know this one yet, and why.
func (ms *membership) strangers() (peers []Unconfirmed) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, one := range ms.problems {
		peers = append(peers, one)
	}
	return byID(peers)
}

// asks notes that a process is asked, and returns its member, if it is one. Each process is asked one question at a time.
func (ms *membership) asks(p peer.Info) *member {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.asked[p.Incarnation] = none{}
	return ms.members[p.Incarnation]
}

// answered returns the member that has answered, or nil for a process that shares the table. An answer may overtake messages:
// the cache that sent it may be closed by now, and replaced by another one. Such an answer is void, and the process is asked
// again.
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

// trust records until when a process waits for our confirmations.
func (ms *membership) trust(m *member, until int64) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m.trusted = max(m.trusted, until)
}

// note records the problem with a process, for the error of Invalidate.
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

// noteGone handles the end of a process in a round. In the first round all others have to be asked again: answers from before
// its end do not include the updates that it had begun.
func (ms *membership) noteGone() error {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if !ms.joined {
		return errChanged
	}
	return nil
}

// noteAll is note for all peers that an error of the bus names.
func (ms *membership) noteAll(err error) {
	if all, ok := errors.AsType[*bus.PeersError](err); ok {
		for _, one := range all.Errors {
			_ = ms.note(one.Peer, one.Err)
		}
	}
}
