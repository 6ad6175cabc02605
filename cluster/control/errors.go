package control

import (
	"errors"
	"fmt"
	"net/http"
)

// Errors of orders, for errors.Is.
var (
	// ErrStopping: the node or its cluster has begun to stop, so the order or the listener is refused.
	ErrStopping = errors.New("the cluster stops")

	// ErrBusy: another order is running, and the caller did not want to wait for it.
	ErrBusy = errors.New("a reload or a change of the number of nodes is running: try again when it is done")

	// ErrNoNode: no node that accepts connections has this id.
	ErrNoNode = errors.New("no node that accepts connections has this id (multinode status lists them)")
)

// ErrOnlyNode is the error of a pause of the only node that gets connections.
var ErrOnlyNode = errors.New("it is the only node that gets new connections: resume or start another one first")

// Errors of a [Client], for errors.Is.
var (
	// ErrNotRunning: no master answers in the directory. The error below it is that of connect(2).
	ErrNotRunning = errors.New("no master answers")

	// ErrNoAPI: the master listens, but does not serve the control API yet. It is starting, and may wait for workers of a
	// previous master; its log names them.
	ErrNoAPI = errors.New("it does not answer to the control API yet: it is starting, and may wait for workers of a previous master " +
		"(its log names them); try again")

	// ErrVersion: the master speaks another version of the control API.
	ErrVersion = errors.New("use the multinode program of the version that the cluster was built with")
)

// Error is the refusal of a request by the master. It Is [ErrBusy], [ErrNoNode], [ErrOnlyNode] or [errors.ErrUnsupported] where
// its code says that.
type Error struct {
	Code int    // of HTTP, as docs/control.md lists them
	Text string // the reason
}

func (e *Error) Error() string { return e.Text }

// Is makes the error one of the orders' errors.
func (e *Error) Is(target error) bool {
	switch e.Code {
	case http.StatusConflict:
		return target == ErrBusy
	case http.StatusNotFound:
		return target == ErrNoNode
	case http.StatusUnprocessableEntity:
		return target == ErrOnlyNode
	case http.StatusNotImplemented:
		return target == errors.ErrUnsupported
	default:
		return false
	}
}

// versionError is an answer of a version that is not known here.
func versionError(what string, theirs, ours any) error {
	return fmt.Errorf("the master speaks version %v of %s, and this program %v: %w", theirs, what, ours, ErrVersion)
}
