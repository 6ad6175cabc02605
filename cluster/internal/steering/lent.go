package steering

import (
	"context"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// Lent are the listeners that nodes have lent to the master, as far as they share their queues.
type Lent interface {
	// Owner returns the node that has a listener, if it has lent it.
	Owner(inode uint32) (id int, ok bool)
	// Mode returns how queues are watched.
	Mode() reuseport.WatchMode
	// Shares reports whether a node shares: it lends each listener that it has, and may watch those of others.
	Shares(id int) bool
	// Rescue has all nodes accept from the queue of a listener whose node has died, until it is shut down.
	Rescue(inode uint32)
	// Estate stands for a node that has died, and its listener.
	Estate(inode uint32) portgroup.Agent
	// Empty waits until other nodes have accepted what is under way to the queue of a listener. With hide, where connections cannot
	// be steered away, no new ones come first.
	Empty(ctx context.Context, inode uint32, hide bool) error
}
