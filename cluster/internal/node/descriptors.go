package node

import (
	"fmt"

	"github.com/multinode-go/multinode/internal/descriptors"
)

// Open descriptors of a node, measured, and rounded up.
const (
	descriptorsOfNode   = 14 // its directory, lock and sockets, the port
	descriptorsOfLink   = 2  // to each other node: the link and the stream of the bus
	descriptorsOfWorker = 3  // in the master, for each worker: its pidfd, the control stream, standard error until it is ready
	spareDescriptors    = 16 // for short uses, and some connections

	// Where queues are shared, for one port.
	sharedOfLink   = 3 // the stream, and a listener with its bell
	sharedOfWorker = 2 // in the master: what it holds
)

// EnoughDescriptors returns an error if this process cannot have as many descriptors open as a node of so many needs. It comes
// before those are open.
func EnoughDescriptors(nodes int, isMaster bool, share Sharing) error {
	return descriptors.Need(fmt.Sprintf("a cluster with Nodes: %d", nodes), Descriptors(nodes, isMaster, share))
}

// Descriptors returns how many descriptors a node of so many needs.
func Descriptors(nodes int, isMaster bool, share Sharing) int {
	return descriptorsOfNode + forEach(isMaster, share)*nodes + spareDescriptors
}

// forEach returns how many descriptors a node needs for each other one.
func forEach(isMaster bool, share Sharing) int {
	each := descriptorsOfLink
	if share.Enabled {
		each += sharedOfLink
	}
	if isMaster {
		each += descriptorsOfWorker
	}
	if isMaster && share.Enabled {
		each += sharedOfWorker
	}
	return each
}

// MoreDescriptors is EnoughDescriptors for a master that has some nodes, and is to have more.
func MoreDescriptors(more int, share Sharing) error {
	if more <= 0 {
		return nil
	}
	return descriptors.Need(fmt.Sprintf("growing by %d", more), forEach(true, share)*more+spareDescriptors/2)
}
