package invalidate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/multinode-go/multinode/peer"
)

// ErrNotCommitted tells Update that nothing was committed, nor ever will be: the error of commit Is it, for instance as
//
//	return fmt.Errorf("%w: %w", invalidate.ErrNotCommitted, err)
//
// Then the values of the keys can be stored again at once. With any other error of commit they are not for
// Options.CommitTimeout: a connection that broke, or a context that ended, does not tell what the database does. Return it
// only when the database has answered so, as after a ROLLBACK, or when the write was not sent.
var ErrNotCommitted = errors.New("nothing was committed")

// UnconfirmedError is the error of Invalidate and its like when not all processes have confirmed in time. Those that it
// does not name have, and this process has dropped the value, too. In the others it goes as soon as they hear of it, or
// their lease is over.
type UnconfirmedError struct {
	Peers []Unconfirmed // by id
	Err   error         // why it was waited for no longer
	// NotCommitted tells, of Update, that commit was not called.
	NotCommitted bool
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

// PanicError is the error of Get when the loader has panicked.
type PanicError struct {
	Value any    // of the panic
	Stack []byte // of the goroutine
}

// Error returns the value and the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("the loader panicked: %v\n%s", e.Value, e.Stack)
}
