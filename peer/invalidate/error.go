package invalidate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/peer"
)

// ErrNotCommitted is for commit to return to Update: nothing was committed, nor ever will be. For instance as
//
//	return fmt.Errorf("%w: %w", invalidate.ErrNotCommitted, err)
//
// Then the keys can be stored again at once, not after Options.CommitTimeout. Return it only when the write was not sent or the
// database has confirmed it, as after a ROLLBACK; after a broken connection, the outcome is unknown.
var ErrNotCommitted = errors.New("nothing was committed")

// UnconfirmedError names the processes that have not confirmed a change in time. All other processes have applied it. The named
// ones drop the value when the change reaches them, or at the end of their lease.
type UnconfirmedError struct {
	Peers        []Unconfirmed // by id
	Err          error         // why the wait has ended
	NotCommitted bool          // commit of Update was not called
}

// Unconfirmed is a process that has not confirmed.
type Unconfirmed struct {
	Peer   peer.Info // perhaps only the ID and the Incarnation are known
	Reason string    // as far as this process knows
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
