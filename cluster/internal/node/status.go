package node

import (
	"os"

	"github.com/multinode-go/multinode/cluster/control"
)

// Status returns the status that this node knows by itself: its own.
func (n *Node) Status() control.Status {
	self := n.Mesh.Self()
	connections, requests := n.Servers.Load()
	own := control.NodeStatus{
		ID: self.ID, Slot: self.Slot, Generation: self.Generation, PID: os.Getpid(), State: control.StateReady,
		Master: self.Slot == 0, Accepts: n.Accepts(), Connections: connections, Requests: requests,
	}
	for _, one := range n.listeners.All() {
		if self.Slot == 0 && one.Key == n.key {
			own.Queue, own.QueueLimit = one.Queue()
		}
	}
	return control.Status{
		Version: control.StatusVersion, Cluster: self.Cluster, PID: os.Getpid(), Address: n.Addr().String(),
		Nodes: []control.NodeStatus{own},
	}
}
