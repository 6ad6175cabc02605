package cluster

import (
	"errors"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/master"
	"github.com/multinode-go/multinode/cluster/internal/masterlink"
)

// Errors that a caller can distinguish with errors.Is. The control API has status codes for them, see docs/control.md.
var (
	// ErrNotMaster: the order is one for the master, and this node is a worker.
	ErrNotMaster = errors.New("this node is not the master: ask it, by its control socket or in its process")

	// ErrOrphaned: the worker has no master. [Node.Wait] returns it when no master has appeared within Options.OrphanTimeout;
	// [Listen] and [Start] return it when the master is gone before the worker could join it.
	ErrOrphaned = masterlink.ErrNoMaster

	// ErrStopping: the node or its cluster has begun to stop, so the order or the listener is refused.
	ErrStopping = control.ErrStopping

	// ErrBusy: another order is running, and the caller did not want to wait for it.
	ErrBusy = control.ErrBusy

	// ErrNoNode: no node that accepts connections has this id.
	ErrNoNode = control.ErrNoNode

	// ErrLeftBehind: something still listens on a port of the cluster after a stop of [Supervise].
	ErrLeftBehind = master.ErrLeftBehind
)

// WorkerError is how a worker ended.
type WorkerError = control.WorkerError
