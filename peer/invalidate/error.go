package invalidate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/peer"
)

// ErrNotCommitted is an error of commit that tells Update that nothing was committed, nor ever will be, for instance as
//
//	return fmt.Errorf("%w: %w", invalidate.ErrNotCommitted, err)
//
// Then the keys can be stored again at once, not after Options.CommitTimeout. Return it only when the write was not sent or the
// database has said so, as after a ROLLBACK; a broken connection does not tell.
var ErrNotCommitted = errors.New("nothing was committed")

// UnconfirmedError is the error when not all processes have confirmed in time. All others have, and this one. Those that it
// names drop the value when they hear of it, or their lease is over.
type UnconfirmedError struct {
	Peers        []Unconfirmed // by id
	Err          error         // why it was waited for no longer
	NotCommitted bool          // commit of Update was not called
}

// Unconfirmed is a process that has not confirmed.
type Unconfirmed struct {
	Peer   peer.Info // perhaps only the ID and the Incarnation are known
	Reason string    // what has happened to it, as far as it is known here
}

// Error names each peer with its reason.
func (e *UnconfirmedError) Error() string {
	var peers, parts []string
	for _, p := range e.Peers {
		peers = append(peers, fmt.Sprintf("node %d has not confirmed: %s", p.Peer.ID, p.Reason))
	}
	if e.NotCommitted {
		parts = append(parts, "nothing was committed")
	}
	if len(peers) > 0 {
		parts = append(parts, strings.Join(peers, "; "))
	}
	return strings.Join(append(parts, fmt.Sprint(e.Err)), ": ")
}

// Unwrap returns Err.
func (e *UnconfirmedError) Unwrap() error { return e.Err }

// Is reports whether target is ErrNotCommitted and commit was not called.
func (e *UnconfirmedError) Is(target error) bool { return target == ErrNotCommitted && e.NotCommitted }

// byID sorts peers by their id.
func byID(peers []Unconfirmed) []Unconfirmed {
	slices.SortFunc(peers, func(a, b Unconfirmed) int { return cmp.Compare(a.Peer.ID, b.Peer.ID) })
	return peers
}

// PanicError is the error of Get when the loader has panicked.
type PanicError struct {
	Value any    // of the panic
	Stack []byte // of the goroutine
}

// Error returns the value and the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("the loader panicked: %v\n%s", e.Value, e.Stack)
}
